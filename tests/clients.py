"""Replies as mail programs write them: what is quoted, in which form, language and charset."""

import base64
import html
import re
from email.message import EmailMessage
from email.policy import SMTP

WROTE = {
    "en": "On Mon, 23 Nov 2026 at 09:12, Crowd <{to}> wrote:",
    "de": "Am Mo., 23. Nov. 2026 um 09:12 Uhr schrieb Crowd <{to}>:",
    "fr": "Le lun. 23 nov. 2026 à 09:12, Crowd <{to}> a écrit :",
    "es": "El lun, 23 nov 2026 a las 9:12, Crowd (<{to}>)\nescribió:",
    "it": "Il giorno lun 23 nov 2026 alle ore 09:12 Crowd\n<{to}> ha scritto:",
    "pl": "pon., 23 lis 2026 o 09:12 Crowd <{to}> napisał(a):",
    "ja": "2026年11月23日(月) 9:12 Crowd <{to}>:",
    "zh": "Crowd <{to}> 于2026年11月23日周一 09:12写道：",
}
HEADS = {
    "en": ("From", "Sent", "To", "Subject"),
    "de": ("Von", "Gesendet", "An", "Betreff"),
    "fr": ("De", "Envoyé", "À", "Objet"),
}


def _parts(message):
    return (message.get_body((kind,)).get_content() for kind in ("plain", "html"))


def _answering(message, sender):
    reply = EmailMessage()
    reply["From"], reply["To"] = sender, message["Reply-To"]
    reply["Subject"] = f"Re: {message['Subject']}"
    reply["In-Reply-To"] = reply["References"] = message["Message-ID"]
    return reply


def _quoted(text):
    return "\n".join(f"> {line}".rstrip() for line in text.splitlines())


def _as_page(text):
    return "".join(f"<div>{html.escape(line) or '<br>'}</div>" for line in text.splitlines())


def gmail(message, sender, said, language="en"):
    text, page = _parts(message)
    wrote = WROTE[language].format(to=message["Reply-To"])
    reply = _answering(message, sender)
    reply.set_content(f"{said}\n\n{wrote}\n\n{_quoted(text)}\n")
    quote = f'<div dir="ltr" class="gmail_attr">{html.escape(wrote)}<br></div><blockquote>{page}</blockquote>'
    reply.add_alternative(
        f'<div dir="ltr">{_as_page(said)}</div><div class="gmail_quote">{quote}</div>', subtype="html"
    )
    return reply.as_bytes(policy=SMTP)


def outlook(message, sender, said, language="en"):
    """Plain text without signs of quotation, below headers."""
    text, _ = _parts(message)
    values = ("Crowd <{to}>", "Montag, 23. November 2026 09:12", sender, str(message["Subject"]))
    heads = [f"{name}: {value}" for name, value in zip(HEADS[language], values, strict=True)]
    reply = _answering(message, sender)
    reply.set_content("\n".join([said, "", "Anna Meyer, MD", "Intensive care", "", *heads, "", text]))
    return reply.as_bytes(policy=SMTP)


def outlook_page(message, sender, said):
    """A page alone, as Outlook on the web sends it."""
    _, page = _parts(message)
    reply = _answering(message, sender)
    style = "<style>p.MsoNormal {margin:0} 1: A 2: B</style>"
    quoted = f'<div id="divRplyFwdMsg" dir="ltr"><b>From:</b> Crowd<br><b>Sent:</b> Monday</div><div>{page}</div>'
    lines = "".join(f'<p class="MsoNormal">{html.escape(line)}&nbsp;</p>' for line in said.splitlines())
    body = f'<html><head>{style}</head><body>{lines}<div id="appendonsend"></div><hr>{quoted}</body></html>'
    reply.set_content(body, subtype="html")
    return reply.as_bytes(policy=SMTP)


def apple(message, sender, said, language="de"):
    text, page = _parts(message)
    wrote = f"Am 23.11.2026 um 09:12 schrieb Crowd <{message['Reply-To']}>:" if language == "de" else WROTE[language]
    reply = _answering(message, sender)
    reply.set_content(f"{said}\n\nVon meinem iPhone gesendet\n\n{wrote}\n\n{_quoted(text)}\n", cte="quoted-printable")
    body = f"<div>{_as_page(said)}</div><blockquote type='cite'>{html.escape(wrote)}{page}</blockquote>"
    reply.add_alternative(body, subtype="html")
    return reply.as_bytes(policy=SMTP)


def thunderbird(message, sender, said):
    """Below what is quoted, as is the custom there, and signed."""
    text, _ = _parts(message)
    wrote = "Le 23/11/2026 à 09:12, Crowd a écrit :"
    reply = _answering(message, sender)
    reply.set_content(f"{wrote}\n{_quoted(text)}\n\n{said}\n\n-- \nAnna, 1 A\n1 A\n2 B\n")
    return reply.as_bytes(policy=SMTP)


def filled_in(message, sender, said):
    """Answers within what is quoted, and nothing of its thread but the subject."""
    text, _ = _parts(message)
    answers = dict(line.split(" ", 1) for line in said.splitlines() if re.match(r"\d", line))
    filled = "\n".join(f"> {line} {answers.get(line.rstrip(':'), '')}".rstrip() for line in text.splitlines())
    reply = _answering(message, sender)
    del reply["In-Reply-To"], reply["References"]
    reply.set_content(f"See below!\n\nOn 23 Nov 2026, at 09:12, Crowd wrote:\n\n{filled}\n")
    return reply.as_bytes(policy=SMTP)


def odd(message, sender, said):
    """A charset that nobody knows, and a subject that somebody changed: the token is in what is quoted alone."""
    text, _ = _parts(message)
    content = f"{said}\n\nJörg wrote:\n{_quoted(text)}".encode("cp1252")
    lines = base64.encodebytes(content).decode()
    heads = [f"From: {sender}", "Subject: AW: Fragen", "MIME-Version: 1.0"]
    heads += ['Content-Type: text/plain; charset="x-unbekannt"', "Content-Transfer-Encoding: base64"]
    return ("\r\n".join([*heads, "", *lines.split("\n")])).encode()


def latin(message, sender, said):
    """Says UTF-8 and is not."""
    heads = [f"From: {sender}", f"In-Reply-To: {message['Message-ID']}", 'Content-Type: text/plain; charset="utf-8"']
    return ("\r\n".join([*heads, "Content-Transfer-Encoding: 8bit", "", "Grüße", said, ""])).encode("latin-1")


STYLES = {
    "gmail": gmail,
    **{f"gmail {language}": lambda *a, language=language: gmail(*a, language=language) for language in WROTE},
    **{f"outlook {language}": lambda *a, language=language: outlook(*a, language=language) for language in HEADS},
    "outlook page": outlook_page,
    "apple": apple,
    "thunderbird": thunderbird,
    "filled in": filled_in,
    "odd charset": odd,
    "wrong charset": latin,
}
