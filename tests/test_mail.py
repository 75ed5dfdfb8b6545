"""Letters through a real SMTP server: they arrive, or are kept; nobody waits for them, and no secret gets out."""

import os
import re
from email import message_from_bytes, policy

import pytest

import imap
import smtp
from vitalsynth import mail
from vitalsynth.cli import main
from vitalsynth.mail import Letter, Outbox, Picture, Settings, outbox, receiving, sending

pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")  # it is TLS from the start
TO = ["anna@ward.example", "ben@ward.example"]
PNG = b"\x89PNG\r\n\x1a\nnot much of a picture"


@pytest.fixture(autouse=True)
def quick(monkeypatch, tmp_path):
    monkeypatch.setattr(outbox, "PAUSES", (0.02, 0.1))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def page(pictures):
    return "<p>as a page</p>" + "".join(f'<img src="cid:{each.name}" alt="{each.alt}">' for each in pictures)


def letter(subject="a subject", pictures=()):
    return Letter(subject, "in words", page, lambda: pictures)


def sent(settings, *letters, to=TO):
    """Send letters, and return what was said."""
    said = []
    with Outbox(Settings.of(settings, "the test"), to, said.append) as box:
        for each in letters:
            box.put(each)
    return said


def kept(tmp_path):
    return sorted((tmp_path / "state" / "vitalsynth" / "unsent").glob("*.eml"))


@pytest.mark.parametrize("security", ["starttls", "tls", "plain"])
def test_a_letter_arrives_as_it_was_written(security, tmp_path):
    with smtp.running(tmp_path, security) as (mailbox, settings):
        assert sent(settings, letter("a run ends", [Picture("curve-1", PNG, "a curve")])) == []
    ((message, to, upgraded),) = mailbox.messages
    text, html, pictures = smtp.parts(message)
    assert (to, upgraded) == (TO, security == "starttls") and all(mailbox.logins)
    assert (message["Subject"], message["To"]) == ("a run ends", ", ".join(TO))
    assert text.strip() == "in words" and "as a page" in html
    assert pictures == {"curve-1": PNG} and re.findall(r'src="cid:(.+?)"', html) == ["curve-1"]
    assert message.get_content_type() == "multipart/alternative"


def test_what_stands_in_a_subject_is_no_header(tmp_path):
    name = os.fsdecode(b"r\xfcn\nBcc: eve@evil.example\r\n\r\n<b>\x1b[31m")
    with smtp.running(tmp_path) as (mailbox, settings):
        assert sent(settings, Letter(name, name, lambda _: name)) == []
    ((message, to, _),) = mailbox.messages
    assert to == TO and message["Bcc"] is None and "Bcc: eve@evil.example <b>" in message["Subject"]


def test_a_full_server_is_tried_again(tmp_path):
    with smtp.running(tmp_path) as (mailbox, settings):
        mailbox.answers = ["452 4.3.1 Insufficient system storage"] * 3
        said = sent(settings, letter("first"), letter("second"))
    assert [message["Subject"] for message, _, _ in mailbox.messages] == ["first", "second"]
    assert len(said) == 1 and "452 4.3.1 Insufficient system storage" in said[0] and not kept(tmp_path)


def test_a_refused_login_is_said_once_and_letters_are_kept_for_us_alone(tmp_path):
    with smtp.running(tmp_path) as (mailbox, settings):
        wrong = settings | {"password": "Wr0ng-secret"}
        said = sent(wrong, letter("first"), letter("second"))
        with pytest.raises(mail.Undelivered) as error:
            mail.deliver(Settings.of(wrong, "the test"), message_from_bytes(b"", policy=policy.default), TO)
    assert mailbox.logins.count(True) == 0 and not mailbox.messages
    assert len(said) == 2 and "refuses the login: 535" in said[0] and str(tmp_path / "state") in said[1]
    files = kept(tmp_path)
    assert {oct(file.stat().st_mode & 0o777) for file in files} == {"0o600"}
    assert files[0].parent.stat().st_mode & 0o077 == 0
    messages = [message_from_bytes(file.read_bytes(), policy=policy.default) for file in files]
    assert {message["Subject"] for message in messages} == {"first", "second"}
    everything = "".join([*said, str(error.value), repr(Settings.of(wrong, "")), *(f.read_text() for f in files)])
    assert "Wr0ng-secret" not in everything


def test_a_server_that_repeats_the_password_is_not_repeated():
    settings = Settings.of({"host": "mx", "user": "u", "password": "s3cret"}, "the test")
    for echoed in (b"5.7.8 s3cret is wrong", b"5.7.8 AHUAczNjcmV0", b"czNjcmV0\r\nis wrong"):
        assert "***" in sending._said(settings, 535, echoed)


def test_a_wrong_address_is_said_once_and_the_others_get_theirs(tmp_path):
    with smtp.running(tmp_path) as (mailbox, settings):
        mailbox.refused = {"ben@ward.example": "550 5.1.1 No such user"}
        said = sent(settings, letter("first"), letter("second"))
    assert [to for _, to, _ in mailbox.messages] == [TO[:1]] * 2
    assert said == ["mail: ben@ward.example: 550 5.1.1 No such user"]


def test_whom_the_server_does_not_take_now_gets_it_later_and_the_others_not_twice(tmp_path):
    with smtp.running(tmp_path) as (mailbox, settings):
        mailbox.refused = {"ben@ward.example": ["450 4.2.0 Greylisted"] * 2}
        said = sent(settings, letter())
    assert [to for _, to, _ in mailbox.messages] == [TO[:1], TO[1:]]
    assert said == ["mail: ben@ward.example: 450 4.2.0 Greylisted"]


def test_a_letter_that_is_too_large_goes_without_pictures(tmp_path):
    with smtp.running(tmp_path) as (mailbox, settings):
        mailbox.answers = ["552 5.3.4 Message too big"]
        said = sent(settings, letter(pictures=[Picture("a", PNG, "a")]))
    ((message, _, _),) = mailbox.messages
    assert smtp.parts(message)[2] == {} and "552" in said[0] and not kept(tmp_path)


def test_a_letter_that_is_refused_is_kept_and_the_next_one_sent(tmp_path):
    with smtp.running(tmp_path) as (mailbox, settings):
        mailbox.answers = ["554 5.7.1 Looks like spam"]
        said = sent(settings, letter("first"), letter("second"))
    assert [message["Subject"] for message, _, _ in mailbox.messages] == ["second"]
    assert "554" in said[0] and b"Subject: first" in kept(tmp_path)[0].read_bytes()


def test_nobody_waits_for_a_server_that_says_nothing(tmp_path, monkeypatch):
    """Or this would take an hour."""
    monkeypatch.setattr(sending, "TIMEOUT", 3600)
    monkeypatch.setattr(outbox, "PATIENCE", 0.1)
    with smtp.hanging() as (settings, _):
        said = sent(settings, letter("first"), letter("second"))
    assert len(kept(tmp_path)) == 2 and any("kept in" in line for line in said)


@pytest.mark.parametrize("without", ["ca", "starttls"])
def test_nothing_is_sent_to_a_server_that_is_not_the_right_one(without, tmp_path):
    with smtp.running(tmp_path, "plain" if without == "starttls" else "starttls") as (mailbox, settings):
        login = {"user": smtp.USER, "password": smtp.PASSWORD, "security": "starttls"}
        said = sent({name: value for name, value in (settings | login).items() if name != "ca"}, letter())
    assert not mailbox.logins and not mailbox.messages and len(kept(tmp_path)) == 1
    assert ("certificate is not trusted" if without == "ca" else "STARTTLS extension not supported") in said[0]


def test_what_cannot_be_drawn_hurts_one_letter_only(tmp_path):
    def fail():
        raise RuntimeError("no ink")

    with smtp.running(tmp_path) as (mailbox, settings):
        said = sent(settings, Letter("first", "", page, fail), letter("second"))
    assert [message["Subject"] for message, _, _ in mailbox.messages] == ["second"] and "no ink" in said[0]


@pytest.fixture
def file(tmp_path, monkeypatch):
    path = tmp_path / "mail.toml"
    monkeypatch.setenv("VITALSYNTH_MAIL_SETTINGS", str(path))
    path.write_text('host = "mx.ward.example"\nuser = "ward"\npassword = "s3cret"\nfrom = "v@ward.example"\n')
    path.chmod(0o600)
    return path


def test_settings_from_a_file(file):
    found = Settings.read()
    assert (found.host, found.port, found.security) == ("mx.ward.example", 587, "starttls")
    assert (found.user, found.password, found.sender) == ("ward", "s3cret", "v@ward.example")
    assert "s3cret" not in f"{found} {found!r}"


def test_the_environment_stands_alone(file, monkeypatch):
    """A password of one server is never told to another."""
    smtp.environment(monkeypatch, {"host": "elsewhere.example"})
    assert (Settings.read().host, Settings.read().password) == ("elsewhere.example", "")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_file_that_others_can_read_is_refused(file, mode):
    file.chmod(mode)
    with pytest.raises(ValueError, match=f"mode {mode:04o}.*chmod 600"):
        Settings.read()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file away")
def test_a_file_of_somebody_else_is_refused(file):
    os.chown(file, 65534, -1)
    with pytest.raises(ValueError, match="not a file of yours"):
        Settings.read()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("host = mx.ward.example\npassword = s3cret", "is not TOML"),
        ('password = "s3cret"', "lacks host"),
        ('host = "mx"\npasswort = "s3cret"', "did you mean 'password'?"),
        ('host = "mx"\npassword = "s3cret"', "user and password belong together"),
        ('host = "mx"\nuser = "u"\npassword = "s3cretß"', "not ASCII"),
        ('host = "mx"\nsecurity = "startls"', "did you mean 'starttls'?"),
        ('host = "mx"\nport = 123456', "port must be a number"),
        ('host = "mx"\nca = "/nowhere.pem"', "there is no file /nowhere.pem"),
    ],
)
def test_wrong_settings_are_one_line_without_secrets(file, content, said, capsys):
    file.write_text(content)
    assert main(["watch", "--try_mail", "--mail", "anna@ward.example"]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1 and "s3cret" not in error


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"host": "mx"}, ("starttls", 587)),
        ({"host": "mx", "port": 465}, ("tls", 465)),
        ({"host": "mx", "port": 25}, ("starttls", 25)),
        ({"host": "mx", "security": "plain"}, ("plain", 25)),
        ({"host": "localhost"}, ("plain", 25)),
        ({"host": "127.0.0.1", "user": "u", "password": "p"}, ("starttls", 587)),
    ],
)
def test_all_is_encrypted_but_to_this_machine_or_when_asked_for(given, expected):
    found = Settings.of(given, "the test")
    assert (found.security, found.port) == expected


@pytest.mark.parametrize("wrong", ["anna", "@x", "a@", "a b@c", "a@b\nBcc: c@d", "a@b, c"])
def test_what_is_no_address_is_refused(wrong):
    with pytest.raises(ValueError, match="is no address"):
        mail.addresses(wrong)


def test_settings_can_be_tried(tmp_path, monkeypatch, capsys):
    with smtp.running(tmp_path) as (mailbox, settings):
        smtp.environment(monkeypatch, settings)
        assert main(["watch", "--try-mail", "--mail", ",".join(TO)]) == 0
        assert len(mailbox.messages) == 1 and "taken by 127.0.0.1" in capsys.readouterr().out
        mailbox.refused = {"ben@ward.example": "550 5.1.1 No such user"}
        assert main(["watch", "--try-mail", "--mail", ",".join(TO)]) == 2
        monkeypatch.setenv("VITALSYNTH_SMTP_PASSWORD", "wr0ng")
        assert main(["watch", "--try-mail", "--mail", ",".join(TO)]) == 2
    said = capsys.readouterr().err
    assert "550 5.1.1 No such user" in said and "refuses the login: 535" in said and said.count("\n") == 2
    assert smtp.PASSWORD not in said and "wr0ng" not in said


def test_where_mail_comes_is_in_the_same_file(file, monkeypatch):
    with pytest.raises(ValueError, match=r"has no table \[imap\]"):
        Settings.read("imap")
    file.write_text(file.read_text() + '[imap]\nhost = "imap.ward.example"\n')
    found = Settings.read("imap")
    assert (found.host, found.port, found.security) == ("imap.ward.example", 993, "tls")
    assert (found.user, found.password) == ("ward", "s3cret") and Settings.read().host == "mx.ward.example"
    imap.environment(monkeypatch, {"host": "elsewhere.example", "port": "143"})
    assert (Settings.read("imap").security, Settings.read("imap").password) == ("starttls", "")


def test_mail_is_read_in_order_without_a_trace_and_never_whole():
    big = b"From: a@ward.example\r\nMessage-ID: <big@ward.example>\r\n\r\n" + b"x" * 78 + b"\r\n"
    with imap.running() as postbox:
        settings = Settings.of(postbox.settings, "the test", "imap")
        postbox.put(b"Subject: first\r\n\r\nhello\r\n", big + (b"y" * 78 + b"\r\n") * 130_000)
        with mail.inbox(settings) as inbox:
            first, second = inbox.after(0)
            assert first.message["Subject"] == "first" and first.uid < second.uid
            assert second.size > 10**7 and len(second.message.as_bytes()) <= receiving.MOST
            assert [each.uid for each in inbox.after(first.uid)] == [second.uid] and not list(inbox.after(second.uid))
            assert inbox.has("<big@ward.example>") and not inbox.has("<small@ward.example>")
        assert not any("\\Seen" in flags for flags in postbox.flags())
        wrong = {**postbox.settings, "password": "Wr0ng-secret"}
        with (
            pytest.raises(ValueError, match="refuses the login") as error,
            mail.inbox(Settings.of(wrong, "the test", "imap")),
        ):
            pass
        assert "Wr0ng" not in str(error.value)
    with pytest.raises(ValueError, match="does not answer as it should"), mail.inbox(settings):
        pass


def test_a_letter_is_for_both_addresses_or_for_none(tmp_path):
    message = message_from_bytes(b"Subject: both\r\n\r\nhello", policy=policy.default)
    with smtp.running(tmp_path, "plain") as (mailbox, given):
        settings = Settings.of(given, "the test")
        for refused, lasting in ((TO[0], "message"), (TO[1], "all")):
            mailbox.refused = {refused: "550 no such user"}
            with pytest.raises(mail.Undelivered, match="550") as error, mail.connect(settings) as server:
                mail.hand_over(server, settings, message, *TO)
            assert error.value.lasting == lasting and not error.value.unsure and not mailbox.messages
        mailbox.refused = {}
        with mail.connect(settings) as server:
            mail.hand_over(server, settings, message, *TO)
        assert [to for _, to, _ in mailbox.messages] == [TO]
        server = mail.connect(settings)
        mailbox.taken = lambda content, to: server.sock.shutdown(2)  # before it is said that it was taken
        with pytest.raises(mail.Undelivered) as error:
            mail.hand_over(server, settings, message, *TO)
        assert error.value.unsure and len(mailbox.messages) == 2
        server.close()
