"""Mail: settings that stay secret, letters with pictures in them, and an outbox that nobody has to wait for.

with Outbox(Settings.read(), addresses("you@hospital.org"), say) as outbox:
    outbox.put(Letter("a subject", "in words", lambda pictures: "<p>as a page</p>"))
"""

from .letters import Letter, Picture, addresses, compose
from .outbox import Outbox
from .sending import Undelivered, deliver
from .settings import Settings

__all__ = ["Letter", "Outbox", "Picture", "Settings", "Undelivered", "addresses", "compose", "deliver"]
