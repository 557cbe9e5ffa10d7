"""Dovecot's configuration for smtp_pop, as text. Settings: doc.dovecot.org, version 2.3."""

from __future__ import annotations

from pathlib import Path

from mininet_lab.mail.description import MAIL_UID, MailSite
from mininet_lab.mail.files import File


def dovecot_files(
    mail: MailSite, addresses: tuple[str, ...], directory: Path, spool: Path, sockets: Path
) -> dict[Path, File]:
    """POP3 and IMAP on the service addresses, mailboxes on the spool, sockets off it.

    It may run before the spool is there: over the empty mount point, which nobody but root can
    write, it answers a temporary error.
    """
    configuration = f"""\
base_dir = {sockets}/dovecot
state_dir = {directory}/state
log_path = {directory}/log/dovecot.log
mail_temp_dir = {directory}/tmp
protocols = imap pop3
listen = {", ".join(addresses)}
ssl = no
disable_plaintext_auth = no
auth_username_format = %Ln
mail_location = maildir:{spool}/mail/%n
mail_fsync = {mail.fsync.value}
mail_max_userip_connections = 200
first_valid_uid = {MAIL_UID}
first_valid_gid = {MAIL_UID}
# Users wait for the new server to be free, not for processes to be started.
service imap-login {{
  service_count = 0
  process_min_avail = 1
}}
service pop3-login {{
  service_count = 0
  process_min_avail = 1
}}
service imap {{
  service_count = 100
}}
service pop3 {{
  service_count = 100
}}
service auth {{
  client_limit = 2500
  unix_listener {sockets}/auth-postfix {{
    mode = 0600
    user = postfix
  }}
}}
passdb {{
  driver = passwd-file
  args = username_format=%n {directory}/passwd
}}
userdb {{
  driver = static
  args = uid={MAIL_UID} gid={MAIL_UID} home={spool}/mail/%n
}}
"""
    passwords = "".join(f"{user.name}:{user.password_hash}\n" for user in mail.users)
    return {
        directory / "dovecot.conf": File(configuration),
        directory / "passwd": File(passwords, 0o640, "dovecot"),
    }
