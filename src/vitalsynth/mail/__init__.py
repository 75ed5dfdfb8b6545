"""Mail: settings that stay secret, letters with pictures in them, an outbox that nobody has to wait for, and replies.

with Outbox(Settings.read(), addresses("you@hospital.org"), say) as outbox:
    outbox.put(Letter("a subject", "in words", lambda pictures: "<p>as a page</p>"))
"""

from .letters import Letter, Picture, addresses, compose
from .outbox import Outbox
from .receiving import Inbox, Received, inbox
from .sending import Undelivered, connect, deliver, hand_over
from .settings import Settings

__all__ = [
    "Inbox",
    "Letter",
    "Outbox",
    "Picture",
    "Received",
    "Settings",
    "Undelivered",
    "addresses",
    "compose",
    "connect",
    "deliver",
    "hand_over",
    "inbox",
]
