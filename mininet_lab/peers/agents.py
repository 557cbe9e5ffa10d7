"""Agents for Pacemaker that are our own, as text: one for the lab's power switch, and one that
runs a mail daemon as well as we know how, beside those that come with Debian."""

from __future__ import annotations

from pathlib import Path

from mininet_lab.mail.postfix import PROGRAMS

FENCE_AGENT = "fence_lab_power"

#: The fence agent API: `name=value` lines on standard input; off exits 0 when it is proven. That
#: it lists no `reboot` follows from `stonith-action`.
_FENCE = """\
#!/bin/bash
action=off
while IFS='=' read -r name value; do
  case "$name" in
    action) action=$value ;;
    port|plug) port=$value ;;
    nodename) : "${port:=$value}" ;;
  esac
done
[ "$1" != -o ] || action=$2
case "$action" in
  off) exec %(power)s off "$port" ;;
  metadata) cat <<'END'
<?xml version="1.0" ?>
<resource-agent name="%(name)s" shortdesc="Fence agent for the lab's power switch">
<longdesc>Cuts the power of a server of the lab, and proves it.</longdesc>
<parameters>
  <parameter name="action" unique="0" required="1">
    <getopt mixed="-o, --action=[action]"/><content type="string" default="off"/>
    <shortdesc lang="en">What to do</shortdesc></parameter>
  <parameter name="port" unique="0" required="0">
    <getopt mixed="-n, --plug=[name]"/><content type="string"/>
    <shortdesc lang="en">The server</shortdesc></parameter>
</parameters>
<actions>
  <action name="off"/><action name="monitor"/><action name="metadata"/><action name="list"/>
</actions>
</resource-agent>
END
  ;;
  monitor|status) [ -S /run/lab-power ] ;;
  list) printf '%%s\\n' %(servers)s ;;
  *) echo "no action $action" >&2; exit 1 ;;
esac
"""

#: An OCF resource agent. Starts as hactrl's scripts start (`mail.rendering`), proves life by each
#: greeting, as its prober does, and ends what does not end.
_SERVICE = """\
#!/bin/bash
: "${OCF_RESKEY_patience:=0.5}"
home=$OCF_RESKEY_home
case "$OCF_RESKEY_daemon" in
  dovecot) pidfile=$home/run/dovecot/master.pid ;;
  postfix) pidfile=$OCF_RESKEY_queue/pid/master.pid ;;
  *) pidfile=$home/run/$OCF_RESKEY_daemon.pid ;;
esac
shopt -s nullglob

running() {
  [ -s "$pidfile" ] && read -r pid <"$pidfile" && [ -d "/proc/$pid" ]
}

# The first line that comes from a socket, within its patience: only that proves life.
greets() {
  local line
  exec 3<>"/dev/tcp/$1/$2" && read -r -t "$OCF_RESKEY_patience" line <&3 && [[ $line == "$3"* ]]
}

all_greet() {
  local checks=() address port greeting
  while read -r address port greeting; do
    [ -z "$address" ] || { greets "$address" "$port" "$greeting" & checks+=($!); }
  done <<<"${OCF_RESKEY_greetings//;/$'\\n'}"
  local failed=0 check
  for check in "${checks[@]}"; do wait "$check" || failed=1; done
  return $failed
} 2>/dev/null

# Numbers in files of an earlier boot are others' now. A dead Dovecot's locks block mailboxes, and
# indexes that a crash has cut short fail the first session of each.
serving=$home/spool/dovecot-serves
begin() {
  rm -f "$pidfile"
  case "$OCF_RESKEY_daemon" in
    dovecot)
      rm -f "$home"/spool/mail/*/*.lock "$home"/spool/mail/*/.[!.]*/*.lock
      [ ! -e "$serving" ] || rm -f "$home"/spool/mail/*/dovecot.*index*
      touch "$serving" || return
      dovecot -c "$home/dovecot.conf" ;;
    postfix)
      %(programs)s/master -w -c "$home/postfix" || return
      postqueue -c "$home/postfix" -f </dev/null >/dev/null 2>&1 & ;;
    *)
      setsid $OCF_RESKEY_command </dev/null >>"$home/log/$OCF_RESKEY_daemon.log" 2>&1 &
      echo $! >"$pidfile" ;;
  esac
}

end() {
  running || return 0
  kill -TERM "$pid"
  for attempt in {1..50}; do
    [ -d "/proc/$pid" ] || return 0
    read -r -t 0.01 <> <(:) || true
  done
  # Each is the leader of a group, in which are all its processes.
  kill -KILL -- "-$pid"
  while [ -d "/proc/$pid" ]; do read -r -t 0.01 <> <(:) || true; done
}

# What it has written is whole then, because the kernel goes on.
ended() {
  [ "$OCF_RESKEY_daemon" != dovecot ] || rm -f "$serving"
}

case "$1" in
  start)
    running && all_greet && exit 0
    begin || exit 1
    until running && all_greet; do read -r -t 0.01 <> <(:) || true; done ;;
  stop) end && ended ;;
  monitor)
    running || exit 7
    all_greet || exit 1 ;;
  validate-all) exit 0 ;;
  meta-data) cat <<'END'
<?xml version="1.0"?>
<!DOCTYPE resource-agent SYSTEM "ra-api-1.dtd">
<resource-agent name="service" version="1.0">
<version>1.0</version>
<longdesc lang="en">A mail daemon, alive when it greets.</longdesc>
<shortdesc lang="en">A mail daemon</shortdesc>
<parameters>
%(parameters)s
</parameters>
<actions>
<action name="start" timeout="20s"/>
<action name="stop" timeout="20s"/>
<action name="monitor" timeout="5s" interval="500ms"/>
<action name="validate-all" timeout="5s"/>
<action name="meta-data" timeout="5s"/>
</actions>
</resource-agent>
END
  ;;
  *) exit 3 ;;
esac
"""

_PARAMETERS = ("daemon", "home", "queue", "command", "greetings", "patience")


def fence_agent(power: Path, servers: tuple[str, ...]) -> str:
    """The fence agent that asks the lab's power switch by its program `power`."""
    return _FENCE % {"name": FENCE_AGENT, "power": power, "servers": " ".join(servers)}


def service_agent() -> str:
    """The resource agent `ocf:lab:service`."""
    parameters = "\n".join(
        f'<parameter name="{name}"><longdesc lang="en">{name}</longdesc>'
        f'<shortdesc lang="en">{name}</shortdesc><content type="string"/></parameter>'
        for name in _PARAMETERS
    )
    text = _SERVICE.replace("%(programs)s", str(PROGRAMS))
    return text.replace("%(parameters)s", parameters)
