"""The base of all configuration classes, and the types of their fields, each with its range."""

from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass, replace
from typing import Annotated, Any, Literal, Self

from pydantic import Field

from lgd.errors import UserError, nearest

Count = Annotated[int, Field(ge=1, le=10**9)]
Size = Annotated[int, Field(ge=1, le=2**16)]  # of a part of a network; a larger one only runs out of memory
Whole = Annotated[int, Field(ge=0, le=2**62)]
Strength = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, lt=1)]
Precision = Literal["float32", "bfloat16"]
TimeFrequencies = Literal["auto", "dit", "diffusers"]


class Section:
    """A frozen dataclass of settings. Misspelt fields are named when one is built, and a copy replaces fields.

    A section inside it may be given as a dict, and a function, such as a network's factory, stands for its import path.
    Errors: UserError for a field that does not exist, when it is built.
    """

    def __new__(cls, *values: Any, **named: Any) -> Self:
        known = {field.name: field for field in fields(cls)}  # type: ignore[arg-type]
        for name in named:
            if name not in known:
                raise UserError(f"{cls.__name__}: unknown field {name!r}{nearest(name, known)}")
        if values and all(field.kw_only for field in known.values()):
            given = repr(values[0])
            raise UserError(f"{cls.__name__}({given}): give fields by name; lgd.load_config({given}) reads a preset")
        return super().__new__(cls)

    def __post_init__(self) -> None:
        for field in fields(self):  # type: ignore[arg-type]
            value, section = getattr(self, field.name), field.default_factory
            if isinstance(value, Mapping) and section is not MISSING and is_dataclass(section):
                object.__setattr__(self, field.name, section(**value))
            else:
                object.__setattr__(self, field.name, plain(value))

    def replace(self, name: str, value: Any) -> Self:
        """Return a copy with another value of the field of a dotted name: `config.replace("guidance.omega", 0.5)`.

        The value's range is checked when the configuration is used. Errors: UserError for an unknown field.
        """
        return replaced(self, name.split("."), value)


def replaced(node: Any, path: list[str], value: Any) -> Any:
    """Return a copy of a section with another value of the field at a path. Errors: UserError for an unknown field."""
    if not is_dataclass(node) or path[0] not in (names := [field.name for field in fields(node)]):
        raise UserError(f"no field {path[0]!r}" + (nearest(path[0], names) if is_dataclass(node) else ""))
    new = value if len(path) == 1 else replaced(getattr(node, path[0]), path[1:], value)
    return replace(node, **{path[0]: new})  # type: ignore[type-var]


def plain(value: Any) -> Any:
    """Return a value of a field, functions in it by their import paths. Errors: as `import_path`."""
    if isinstance(value, tuple):
        return tuple(map(plain, value))
    if callable(value) and not hasattr(value, "__qualname__"):
        kind = type(value).__name__
        raise UserError(f"{kind}: an object; give a function (shape, classes) -> network, defined at a module's top")
    return import_path(value) if callable(value) else value


def import_path(function: Callable[..., Any]) -> str:
    """Return package.module:name of a function. Errors: UserError for one that no other process could import."""
    module, name = function.__module__, function.__qualname__
    if "<" in name:
        raise UserError(f"{module}.{name}: worker processes cannot import it; define it with `def` at a module's top")
    return f"{module}:{name}"
