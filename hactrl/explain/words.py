"""The words for what the engine says in values: one table, used by API, command line and journal.

Nothing decides by these words, so they can be changed freely.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from hactrl.agent.protocol import Refusal
from hactrl.engine.effects import Obstacle, Reason
from hactrl.engine.state import Step
from hactrl.vocabulary import EntryKind, Holding, Proof

REASONS: Mapping[Reason, str] = {
    Reason.UNKNOWN_ROLE: "no role is named {}",
    Reason.UNKNOWN_SERVER: "no server is named {}",
    Reason.NOT_A_CANDIDATE: "{} is not among the servers of this role",
    Reason.ALREADY_THERE: "{} plays this role already",
    Reason.BUSY: "a takeover of {} is under way",
    Reason.SERVER_DISABLED: "the operator has disabled {}",
    Reason.SERVER_FENCED: "{} is fenced, and has not started anew since",
    Reason.AGENT_NOT_CONNECTED: "the agent of {} is not connected",
    Reason.NO_LIVE_INTERFACE: "no interface of the server is up on {}",
    Reason.CUT_OFF: "the server's interfaces on {} are at {detail}, cut off from all users there",
    Reason.REACHES_FEWER: "users at {} cannot reach it, and could reach {detail}",
    Reason.SWITCH_CUT_OFF: "{} cut off from the rest of {detail}: mend a link that leads there",
    Reason.SERVICE_UNHEALTHY: "no good answer from {}",
    Reason.SERVICE_UNKNOWN: "not yet probed often enough: {}",
    Reason.ROLE_FAILED: "{} reports that a daemon of the role has ended",
    Reason.NOT_HELD: "{} does not hold what the role owns",
    Reason.NOT_PLACED: "nobody plays {} yet",
    Reason.NOT_STEERED: "the rules are not yet confirmed by {}",
    Reason.CANNOT_RELEASE: (
        "{} cannot be asked to let go of what the role owns, users would be cut off meanwhile: "
        "start its agent, or hactl failover --force"
    ),
    Reason.AGENT_SILENT: "the agent of {} is connected, and does not answer: start it anew",
    Reason.SWITCH_AWAY: (
        "switch {} is away and cannot be told where to send users; connect it, or hactl failover"
        " --force"
    ),
    Reason.NO_PROOF: (
        "nothing proves yet that {0} has let go of what the role owns; "
        "once its power is off for certain: hactl confirm-off {0}"
    ),
    Reason.STILL_SPEAKS: "{} is not off: its agent is connected",
    Reason.LEASE_RUNS: "the lease of {} has not run out; it needs nobody's word",
    Reason.NO_CANDIDATE: "no other server can take {}",
    Reason.HELD_DOWN: "{} has moved too lately to move by itself",
    Reason.AWAITS_PREFERRED: "nothing was placed before, so that {} gets time to come up",
    Reason.NOT_BETTER: "{} could take it, and shows no sign that it would serve any better",
    Reason.FAILED_BEFORE: (
        "{} failed to serve this role before, and shows no better: hactl retry tries it again"
    ),
    Reason.RESTS: "{} could take it, but the role has moved too often to go back yet: hactl retry",
    Reason.STORE_FAILED: "the new epoch of {} could not be stored",
    Reason.NOT_WRITTEN: "the request to {} could not be stored, so it does not count",
    Reason.PROBER_SILENT: "the prober of {} cannot ask: its process is silent",
    Reason.PROBER_PORT_DOWN: "the prober of {} cannot ask: port {detail} is down",
    Reason.PROBER_HEARS_NOBODY: "the prober of {} hears nobody in time",
    Reason.PROBER_NO_ADDRESS: "the prober of {} has no address for {detail}",
    Reason.PROBER_NO_CARD: "the prober of {} has no card with MAC {detail}",
    Reason.PROBER_FAULT: "the prober of {} cannot ask {detail}",
    Reason.NOT_JUDGED: "not judged for too long: {} through {detail}",
    Reason.LOOKING_ROUND: "the controller of {} has just started, and looks round",
    Reason.STANDBY_ANSWERS: (
        "{}: {detail}; a standby should answer try again later (SMTP 421, POP3 -ERR [SYS/TEMP],"
        " IMAP * BYE [UNAVAILABLE])"
    ),
    Reason.ANSWERS: "{}: {detail}",
    Reason.NOT_WATCHED: (
        "no agent on {}: its daemons are not watched, it cannot be asked to release"
    ),
    Reason.LEASE_ENDS: "no agent on {}, and no guard: its lease ends in {detail} s",
    Reason.UNFINISHED: "the agent of {} has not come to an end with the role: {detail}",
    Reason.TRY_AGAIN: "{} asks to try again later ({detail}), though it has the role",
    Reason.UNPROVABLE: "neither a lease nor a power fence would prove that {} is gone",
    Reason.JUDGED_ANEW: "everybody on {} is being judged anew, after nobody could be judged",
}

STEPS: Mapping[Step, str] = {
    Step.STORE: "writing down the new epoch",
    Step.FENCE: "making sure that the old server can do no harm",
    Step.ASSUME: "giving the new server what the role owns",
    Step.SERVE: "waiting until its services answer there",
    Step.STEER: "sending users there",
}

_KINDS: Mapping[str, str] = {
    EntryKind.AGENT_ABSURD: "the agent of {server} names epoch {epoch}, which it cannot know",
    EntryKind.AGENT_CONNECTED: "the agent of {server} has connected",
    EntryKind.AGENT_EXPLAINED: "{server}: {text}",
    EntryKind.AGENT_LOST: "the agent of {server} is lost",
    EntryKind.AGENT_REFUSED: (
        "the {peer} of {server} at {address} (boot {boot}) is refused: {refusal} {standing}"
    ),
    EntryKind.AGENT_REPORTED: "{server} {holding}, epoch {epoch}",
    EntryKind.ANSWERS_ROUNDABOUT: (
        "answers of {server} to {switch} take a roundabout way: {percent} % leave by {interfaces}"
    ),
    EntryKind.ANSWERS_SHORT: "answers of {server} take the short way again",
    EntryKind.ASSUME_FAILED: "{server} did not take it: {outcome}",
    EntryKind.EFFECT_FAILED: (
        "{effect} was not carried out: a defect, and the controller's log says which"
    ),
    EntryKind.EVENT_FAILED: (
        "{event} of switch {switch} at {address} was not served, and its connection ended: a"
        " defect, and the controller's log says which"
    ),
    EntryKind.OPENFLOW_DISCONNECTED: (
        "{peer} at {address} sent what no switch may, or too much, and was disconnected: {reason}"
    ),
    EntryKind.OPERATOR_REFUSED: "{address} asked for what only the operator may, {token}: refused",
    EntryKind.OWNERSHIP_PROVEN: "{server} can do no harm: {proof}",
    EntryKind.PLACEMENT_ADOPTED: "found in place at {server}, epoch {epoch}",
    EntryKind.DISK_FULL: "a disk of {server} is full: {text}",
    EntryKind.DISK_MENDED: "a disk of {server} has room again: {text}",
    EntryKind.CONTROLLER_ABSENT: "the controller itself did not run for {seconds:.1f} s",
    EntryKind.HOST_FORGOTTEN: "host {host} at {port} is forgotten: the port has been down for long",
    EntryKind.HOST_LEARNT: "host {host} is at {port}",
    EntryKind.HOST_MOVED: "host {host} moved from {former} to {port}",
    EntryKind.HOST_REFUSED: "{host} {address} at {port} is refused ({reason})",
    EntryKind.JOURNAL_REFUSED: (
        "{entries} entries are missing before this: they could not be written"
    ),
    EntryKind.LINK_MISCABLED: (
        "link {link}: {listener} should lead to {expected}, and leads to {speaker}"
    ),
    EntryKind.LINK_ONE_WAY: "link {link} is heard at one end only",
    EntryKind.LINK_UNDECLARED: "link {link} is seen and not declared",
    EntryKind.LINK_UNSEEN: "link {link} is declared and not seen",
    EntryKind.MOUNT_USERS_KILLED: "{server} ended what used a mount: {text}",
    EntryKind.PAUSE_SEEN: "{server} was paused: {text}",
    EntryKind.PORT_DOWN: "port {port} went down",
    EntryKind.PORT_UP: "port {port} came up",
    EntryKind.PING_FAILED: "the agent of {server} did not answer at once ({outcome})",
    EntryKind.POWER_FAILED: "the power of {server} was not cut: {outcome}",
    EntryKind.REMEMBER_FAILED: "what a restart must not forget was not written: {outcome}",
    EntryKind.PROBER_BLIND: "on {segment} nobody can be judged",
    EntryKind.PROBER_MUTE: "on {segment} nobody at all answers the prober",
    EntryKind.PROBER_SEES: "on {segment} everybody has been judged anew, after {seconds:.1f} s",
    EntryKind.PROBER_UNJUDGED: "on {segment} not everybody can be judged",
    EntryKind.PROBE_CHANGED: "{service} through {interface} is {verdict}{why}",
    EntryKind.RELEASE_FAILED: "{server} did not confirm its release ({outcome})",
    EntryKind.REQUEST_ACCEPTED: "operator's {kind_of_request} {target} ({reason}) accepted",
    EntryKind.REQUEST_REFUSED: "operator's {kind_of_request} {target} ({reason}) refused",
    EntryKind.ROLE_FAILED: (
        "{server} has failed at it ({standing}), time {count}; {pause:.0f} s of pause"
    ),
    EntryKind.ROLE_CHECK_FAILED: "the check of the role fails on {server}: {text}",
    EntryKind.ROLE_WAITING: "not served well, and stays where it is",
    EntryKind.RULES_RESTORED: "switch {switch} held other rules than we sent: {count} put right",
    EntryKind.SERVER_FENCED: "{server} is proven off",
    EntryKind.SERVER_UNFENCED: "{server} has started anew",
    EntryKind.STATE_UNWRITABLE: "{server} cannot write its state: {text}",
    EntryKind.STORE_RESTORED: "what is before this comes from a copy that was restored here",
    EntryKind.STORE_UNWRITABLE: "the store cannot be written: {why}",
    EntryKind.STORE_FAILED: "epoch not stored: {outcome}",
    EntryKind.SWITCH_UNRULED: (
        "{address} says that it is switch {switch}, and takes no master: refused"
    ),
    EntryKind.SWITCH_CONNECTED: "switch {switch} has connected",
    EntryKind.SWITCH_LOST: "switch {switch} is lost",
    EntryKind.SWITCH_REFUSED: (
        "{refused} says that it is switch {switch}, which answers at {connected}: refused"
    ),
    EntryKind.SWITCH_UNKNOWN: (
        "a switch with datapath id {datapath_id} at {address} is not in the site file: refused"
    ),
    EntryKind.TAKEOVER_ESCALATED: "going on by force toward {target}",
    EntryKind.TAKEOVER_FAILED: "takeover by {target} given up at {step}, epoch {epoch}",
    EntryKind.TAKEOVER_FINISHED: "{target} serves, epoch {epoch}, after {total:.3f} s ({cause})",
    EntryKind.TAKEOVER_STARTED: "takeover by {target} begins, epoch {epoch} ({cause})",
    EntryKind.TAKEOVER_STEP: "{step} done in {seconds:.3f} s",
}

_HOLDINGS: Mapping[Holding, str] = {
    Holding.NOTHING: "stands by",
    Holding.ASSUMING: "is taking over",
    Holding.HELD: "runs the role",
    Holding.RELEASING: "is letting go",
    Holding.FAILED: "has lost a daemon of the role",
}

_REFUSALS: Mapping[Refusal, str] = {
    Refusal.PROTOCOL: "it breaks the protocol",
    Refusal.SUPERSEDED: "it did not answer",
    Refusal.TOKEN: "it has a wrong token",
    Refusal.TWIN: "it is a second one, the first answers at",
    Refusal.VERSION: "it is of a version that is too old",
}

_PROOFS: Mapping[Proof, str] = {
    Proof.NEVER_OWNED: "it never held anything",
    Proof.RELEASED: "it has released",
    Proof.POWER: "its power is off",
    Proof.PERSON: "a person says that it is off",
    Proof.LEASE: "its lease has run out",
}

#: Values of an entry's details that have words of their own.
_VALUES: Mapping[str, Mapping[str, str]] = {
    "holding": {holding.value: said for holding, said in _HOLDINGS.items()},
    "proof": {proof.value: said for proof, said in _PROOFS.items()},
    "token": {"none": "without a token", "wrong": "with a wrong token"},
    "refusal": {refusal.value: said for refusal, said in _REFUSALS.items()},
    "cause": {cause.value: cause.value.replace("_", " ") for cause in Reason},
}


def reason(code: str, subject: str, detail: str = "") -> str:
    """The words for a reason given by its code; the code itself if it is a newer one."""
    try:
        words = REASONS[Reason(code)]
    except ValueError:
        return f"{code} ({subject})" if subject else code
    return words.format(subject or "it", detail=detail or "it")


def obstacle(value: Obstacle) -> str:
    """The words for one obstacle."""
    return reason(value.reason.value, value.subject, value.detail)


def obstacles(values: Iterable[Obstacle]) -> str:
    """The words for several obstacles, in one line."""
    return together((value.reason.value, value.subject, value.detail) for value in values)


def together(reasons: Iterable[tuple[str, str, str]]) -> str:
    """The words for code, subject and detail, in one line; each reason with the same detail once,
    with its subjects."""
    subjects: dict[tuple[str, str], dict[str, None]] = {}
    for code, subject, detail in reasons:
        subjects.setdefault((code, detail), {})[subject] = None
    return "; ".join(
        reason(code, ", ".join(of_it), detail) for (code, detail), of_it in subjects.items()
    )


def entry(kind: str, details: Mapping[str, str | int | float]) -> str:
    """The words for a journal entry; what an unknown kind holds, if it is a newer one."""
    reasons = {r.value for r in Reason}
    causes = [_cause(key, str(value)) for key, value in details.items() if key in reasons]
    try:
        text = " ".join(_KINDS[kind].format_map(_in_words(details)).split())
    except (KeyError, ValueError):
        rest = {key: value for key, value in details.items() if key not in reasons}
        text = " ".join([kind, *(f"{key}={value}" for key, value in rest.items() if value != "")])
    return "; ".join([text, *causes])


def _cause(code: str, subjects: str) -> str:
    """The words for what `by_reason` has put into one value."""
    each = (subject.removesuffix(")").partition(" (") for subject in subjects.split(", "))
    return together((code, subject, detail) for subject, _, detail in each)


def _in_words(details: Mapping[str, str | int | float]) -> dict[str, str | int | float]:
    said = {key: _VALUES.get(key, {}).get(str(value), value) for key, value in details.items()}
    why = details.get("said") or details.get("reason")
    said.setdefault("why", f" ({why})" if why else "")
    if details.get("kind_of_request") == "failover" and details.get("target"):
        said["target"] = f"to {details['target']}"
    return said
