"""Reading contracts from YAML: unknown keys and wrong values are refused with file and line."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from datarail.contract import Contract, Secret
from datarail.errors import ContractError

M = TypeVar("M", bound=BaseModel)
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


def read_contract(file: Path) -> Contract:
    """One station's contract; raises ContractError listing every fault as file:line: field: fault."""
    contract = read_model(file, Contract)
    if file.stem != contract.station:
        raise ContractError(
            f"the file is named {file.name}, but department and system say {contract.station}",
            part=str(file),
            remedy=f"rename it to {contract.station}.yaml",
        )
    return contract


def read_stations(folder: Path) -> dict[str, Contract]:
    """All contracts of a folder by station; raises ContractError on the first file at fault,
    and when two stations would write to the same clean topic."""

    def refuse(fault: ContractError) -> None:
        raise fault

    return sound_stations(folder, refuse)


def sound_stations(folder: Path, faulty: Callable[[ContractError], None]) -> dict[str, Contract]:
    """The contracts of a folder that can be used, by station; `faulty` hears of each other one.

    One department's slip of the pen must not stop the others' changes.
    """
    contracts: dict[str, Contract] = {}
    owners: dict[tuple[str, str], str] = {}
    for file in sorted(folder.glob("*.yaml")):
        try:
            contract = read_contract(file)
            _claim_topics(owners, contract, file)
        except ContractError as error:
            faulty(error)
            continue
        contracts[contract.station] = contract
    return contracts


def _claim_topics(owners: dict[tuple[str, str], str], contract: Contract, file: Path) -> None:
    department = contract.department.code
    for resource in contract.resources:
        other = owners.get((department, resource), contract.station)
        if other != contract.station:
            raise ContractError(
                f"resource {resource} is also one of {other}; both would be clean.{department}.{resource}",
                part=str(file),
                remedy="give one of them another name",
            )
    owners.update({(department, resource): contract.station for resource in contract.resources})


def read_model(file: Path, model: type[M]) -> M:
    """Any model of the line from one YAML file, with faults told by line."""
    try:
        text = file.read_text(encoding="utf-8")
        tree = yaml.compose(text, Loader=yaml.SafeLoader)
        data = yaml.safe_load(text)
    except OSError as error:
        raise ContractError(f"cannot be read: {error.strerror}", part=str(file)) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ContractError(f"not valid YAML: {error}", part=str(file)) from None
    if repeated := _repeated_key(tree):
        raise ContractError(f"{file}:{repeated[1]}: {repeated[0]} stands twice", part=str(file))
    try:
        return model.model_validate(data)
    except ValidationError as error:
        faults = [_fault(file, tree, fault) for fault in error.errors()]
        raise ContractError("\n".join(faults), part=str(file)) from None


def _fault(file: Path, tree: yaml.Node | None, fault: ErrorDetails) -> str:
    # pydantic's path also names union branches, which are no keys of the file: skip those.
    node, path = tree, []
    line = 1
    for step in fault["loc"]:
        child, at = _child(node, step)
        if at is None:
            if step == fault["loc"][-1]:
                path.append(str(step))
            continue
        path.append(str(step))
        node, line = child, at
    message = "unknown key" if fault["type"] == "extra_forbidden" else fault["msg"]
    return f"{file}:{line}: {'.'.join(path)}: {message}"


def _child(node: yaml.Node | None, step: int | str) -> tuple[yaml.Node | None, int | None]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == str(step):
                return value, key.start_mark.line + 1
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        return node.value[step], node.value[step].start_mark.line + 1
    return node, None


def _repeated_key(node: yaml.Node | None) -> tuple[str, int] | None:
    # YAML's own reader keeps the last of two equal keys: a lost item nobody would see.
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if key.value in seen:
                return key.value, key.start_mark.line + 1
            seen.add(key.value)
            if found := _repeated_key(value):
                return found
    if isinstance(node, yaml.SequenceNode):
        for value in node.value:
            if found := _repeated_key(value):
                return found
    return None


def expand(text: str) -> str:
    """Put environment variables in for ${NAME}; raises ContractError for one that is not set."""

    def value(match: re.Match[str]) -> str:
        found = os.environ.get(match[1])
        if found is None:
            raise ContractError(f"the environment variable {match[1]} is not set")
        return found

    return _VARIABLE.sub(value, text)


def read_secret(secret: Secret | None, folder: Path) -> str | None:
    """The secret's text; a relative file is looked up from the working folder."""
    if secret is None:
        return None
    if secret.env is not None:
        found = os.environ.get(secret.env)
        if found is None:
            raise ContractError(f"the password's environment variable {secret.env} is not set")
        return found
    file = folder / str(secret.file)
    try:
        return file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ContractError(f"the password file {file} cannot be read: {error.strerror}") from None
