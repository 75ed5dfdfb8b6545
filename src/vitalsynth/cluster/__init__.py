"""From one machine to many: several devices, queues, whoever watches, and what comes home."""
