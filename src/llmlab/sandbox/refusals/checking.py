"""The evaluation of refusal rules: before moto answers a call, and at each launch."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache
from typing import Any

from llmlab.sandbox.completion import fail, parameters
from llmlab.sandbox.refusals import s3_calls
from llmlab.sandbox.refusals.rule import Call, Rule
from llmlab.sandbox.refusals.switch import SWITCH

Judged = list[tuple[Rule, Call, dict[str, object]]]


def judge(rules: Iterable[Rule], call: Call) -> Judged:
    """The rules that hold and that the call meets, with the values of their messages' fields."""
    met: Judged = []
    for rule in rules:
        if rule.applies is None or not SWITCH.holds(rule):
            continue
        own = replace(call, amount=SWITCH.amount(rule), rule=rule.name)
        fields = rule.applies(own)
        if fields or fields == {}:
            met.append((rule, own, dict(fields) if isinstance(fields, dict) else {}))
            if rule.answers or (rule.code and not rule.carried_out):
                return met
    return met


def refused(name: str, /, **fields: object) -> Exception:
    """The exception for a row's error, for code that finds out itself that the row is met."""
    from llmlab.sandbox.refusals.table import BY_NAME

    return _error(BY_NAME[name], fields)


def _error(rule: Rule, fields: dict[str, object]) -> Exception:
    error = fail(str(fields.get("code", rule.code)), rule.message.format(**fields))
    vars(error)["_llmlab_status"] = rule.status
    return error


def carry_out(judged: Judged, act: Callable[[], Any]) -> Any:
    """AWS's answer to a call that meets these rules: an error, or the result of `act`, possibly altered or followed by an error."""
    for rule, call, fields in judged:
        if rule.answers:
            return _result(rule.answers(call))
        if rule.code and not rule.carried_out:
            raise _error(rule, fields)
    result = act()
    for rule, call, fields in judged:
        if rule.alters:
            result = rule.alters(call, result)
        elif rule.code:
            raise _error(rule, fields)
    return result


def _result(members: dict[str, Any]) -> Any:
    from moto.core.responses import ActionResult

    return ActionResult(members)


def launched(response: Any, values: dict[str, Any], act: Callable[[], Any]) -> Any:
    """Start the instances of one request by `act`, after evaluating the launch rules. `values` are the complete parameters."""
    from llmlab.sandbox.refusals.table import LAUNCH_RULES

    call = Call("ec2:RunInstances", values, response.current_account, response.region, response)
    return carry_out(judge(LAUNCH_RULES, call), act)


# ---------------------------------------------------------------- at moto's front


@cache
def _rules(service: str, operation: str) -> tuple[Rule, ...]:
    from llmlab.sandbox.refusals.table import ROWS

    wanted = {f"{service}:{operation}", f"{service}:*", "*:*"}
    return tuple(rule for rule in ROWS if rule.applies and not rule.each_launch and not wanted.isdisjoint(rule.operations))


def _note(call: Call, act: Callable[[], Any]) -> Any:
    """Carry a call out, and record the event if rules depend on it."""
    from llmlab.sandbox.refusals.table import NOTED

    result = act()
    if call.operation in NOTED:
        NOTED[call.operation](call)
    return result


def _is_noted(operation: str) -> bool:
    from llmlab.sandbox.refusals.table import NOTED

    return operation in NOTED


def checked(response: Any, call_action: Callable[[Any], Any]) -> Any:
    """Moto's answer to a call of any service but S3, after evaluating the rules."""
    from moto.core.utils import camelcase_to_underscores

    operation = response._get_action() or ""
    service = response.boto3_service_name
    rules = [rule for rule in _rules(service, operation) if SWITCH.holds(rule)]
    method = getattr(response, camelcase_to_underscores(operation), None)
    if method is None or not (rules or _is_noted(f"{service}:{operation}")):
        return call_action(response)

    def act() -> Any:
        call = Call(f"{service}:{operation}", parameters(response), response.current_account, response.region, response)
        return _with_status(response, lambda: _note(call, lambda: carry_out(judge(rules, call), method)))

    setattr(response, camelcase_to_underscores(operation), act)  # so that it runs inside moto's own error handling
    return call_action(response)


def checked_s3(response: Any, act: Callable[[], Any]) -> Any:
    """Moto's answer to a call of S3, after evaluating the rules."""
    operation, values = s3_calls.parse(response)
    rules = [rule for rule in _rules("s3", operation) if SWITCH.holds(rule)]
    if not (rules or _is_noted(f"s3:{operation}")):
        return act()
    call = Call(f"s3:{operation}", values, response.current_account, response.region, response)
    return _with_status(response, lambda: _note(call, lambda: carry_out(judge(rules, call), act)), every=True)


def _with_status(response: Any, act: Callable[[], Any], *, every: bool = False) -> Any:
    """Serialize errors of rows with an HTTP status of their own; with `every`, all errors of rows, because moto's S3 knows only its own."""
    from moto.core.exceptions import ServiceException
    from moto.core.responses import ActionResult

    try:
        return act()
    except ServiceException as error:
        status = vars(error).get("_llmlab_status")
        if status is None or not (status or every):
            raise
        usual, headers, body = response.serialized(ActionResult(error))
        return (status or usual, headers, body) if every else (body, {**headers, "status": status or usual})
