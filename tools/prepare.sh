#!/bin/sh
# Installs what the checkout needs and is missing: Debian packages (as root) and a virtual
# environment with hactrl in it, editable. Does nothing when all of it is there.
#
#   tools/prepare.sh [DIRECTORY]     the virtual environment's directory, .venv if not given
#
# PYTHON names the interpreter to use; otherwise the first of python3.11, python3 that is 3.11
# or newer and can make virtual environments.

set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd -P)
venv=${1:-$root/.venv}
stamp=$venv/.prepared

packages='busybox ca-certificates curl dnsmasq-base dovecot-core dovecot-imapd dovecot-lmtpd
dovecot-pop3d e2fsprogs ethtool iproute2 iputils-ping mininet nftables nmap openssl openvswitch-switch
postfix procps samba smbclient socat tcpdump util-linux'
# Packages that would start a service of their own, and enable it at boot.
services='dovecot nmbd openvswitch-switch postfix samba-ad-dc smbd'

say() { printf '%s\n' "prepare: $*" >&2; }
fail() { say "$*"; exit 1; }

missing_packages() {
    for package in "$@"; do
        status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) || status=none
        [ "$status" = installed ] || printf '%s ' "$package"
    done
}

# A temporary policy (see invoke-rc.d(8)) keeps the packages from starting services here.
policy=/usr/sbin/policy-rc.d
policy_mark='# of tools/prepare.sh, which removes it when it is done'
cleanup() {
    if grep -qsxF "$policy_mark" "$policy"; then rm -f "$policy"; fi
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

install_packages() {
    command -v apt-get >/dev/null || fail "this system has no apt-get; install by hand: $*"
    [ "$(id -u)" = 0 ] || fail "as root: apt-get install $*"
    say "installing Debian packages: $*"
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\n%s\nexit 101\n' "$policy_mark" >"$policy"
        chmod 755 "$policy"
    fi
    export DEBIAN_FRONTEND=noninteractive
    dpkg --configure -a </dev/null >&2 # after a run that was interrupted here
    apt-get -qq -o Acquire::Retries=3 update
    # 'No configuration': no main.cf, so that Debian's own Postfix instance never runs.
    if command -v debconf-set-selections >/dev/null; then
        echo 'postfix postfix/main_mailer_type select No configuration' | debconf-set-selections
    fi
    apt-get -qq -y -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300 \
        install --no-install-recommends "$@" </dev/null >&2
    if [ -d /run/systemd/system ]; then
        for service in $services; do
            case " $* " in
            *" $service "* | *" $service-core "*) systemctl --quiet disable "$service" >&2 ;;
            esac
        done
    fi
    cleanup
}

# Prints the interpreter; a pyenv shim may exist and yet not run.
find_python() {
    for candidate in ${PYTHON:-python3.11 python3 /usr/bin/python3.11 /usr/bin/python3}; do
        if "$candidate" -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' \
            2>/dev/null; then
            printf '%s' "$candidate"
            return
        fi
    done
    return 1
}

# What the virtual environment depends on: these files, and the place it is built for.
digest() {
    { printf '%s\n' "$root"; cat "$root/setup.py" "$root/pyproject.toml" \
        "$root/constraints.txt" "$root/tools/prepare.sh"; } | sha256sum | cut -d ' ' -f 1
}

if command -v dpkg-query >/dev/null; then
    # shellcheck disable=SC2086  # a list of words
    missing=$(missing_packages $packages)
else
    missing=
    say "this system has no dpkg; taking for granted: $packages"
fi
python=$(find_python) || missing="$missing python3 python3-venv"
# shellcheck disable=SC2086
[ -z "$missing" ] || install_packages $missing

wanted=$(digest)
if [ -x "$venv/bin/python" ] && "$venv/bin/python" -c '' 2>/dev/null &&
    [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then
    exit 0
fi

[ -n "$python" ] || python=$(find_python) ||
    fail "Python 3.11 or newer with its venv module is needed; name it: PYTHON=... $0"
say "installing hactrl into $venv, with $("$python" --version)"
rm -f "$stamp"
"$venv/bin/python" -c 'import pip' 2>/dev/null || "$python" -m venv --clear "$venv"

# Builds of source distributions run elsewhere and in an environment of their own: only these
# variables reach them, pip 23 reads the first and pip 26 the second. A URL may hold no space.
constraints=$("$python" -c 'import pathlib, sys; print(pathlib.Path(sys.argv[1]).as_uri())' \
    "$root/constraints.txt")
PIP_CONSTRAINT="$constraints${PIP_CONSTRAINT:+ $PIP_CONSTRAINT}" \
PIP_BUILD_CONSTRAINT="$constraints${PIP_BUILD_CONSTRAINT:+ $PIP_BUILD_CONSTRAINT}" \
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    --editable "$root[test,lab]" </dev/null >&2
printf '%s\n' "$wanted" >"$stamp"
