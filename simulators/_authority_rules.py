"""The rules of a simulated authority: its YAML read into values.

An authority is one or more desks, each for a family of messages::

    desks:
      - title: {zh: 新舱单, en: manifests}
        form: MTReceipt            # how a step is written that doesn't say
        forms: {...}               # by name, see below
        courses:                   # the answers to a document, step by step; "after" counts seconds since it came in
          accepted:
            - {after: 0.3, form: MTResponse, status: "0", info: "接收成功"}
            - {after: 1.6, status: "01", info: "19000 接受申报", decides: true}     # where a refusal comes instead
        course: accepted           # the normal one of types that don't say
        others: {-REVIEW: reviewed}      # another course where a number ends so
        refused: {status: "03"}    # what a refusal says beside one of these texts
        refusals: ["19001 不接受申报，提运单号已经存在"]
        fault: {form: MTResponse, status: "1", info: "..."}       # for -ERR, in place of the first step
        unlisted: {status: "99"}   # what is in no list, for -UNKNOWN; comes behind the first step
        invalid: {form: MTResponse, status: "1"}     # for what breaks its schema; the first desk's is for strangers
        types:
          - takes: [MT1101, MT1201]      # message types of the catalogue
            document: Declaration/Consignment       # what one document is, if not what the catalogue says
            values: {bill: TransportContractDocument/ID}     # what templates may use: paths, as in the catalogue
            fields: {...}          # the same, and {fields} writes each as an element, in this order
            asks: [bill]           # the values whose ending asks for something: TEST-7-REJ

A value is a path, or ``{copy, give, since, always, map}``: what isn't there to be copied is ``give``-n by the authority
from the step with the status ``since`` on; ``map`` translates what was copied; ``always`` writes it even where empty.
The first value is what a document is known by: the same one is given the same numbers again. A type may say
``course``, ``form``, ``others``, ``refused``, ``refusals``, ``fault`` and ``unlisted`` for itself, and

    receipt, record    how templates call the answer and what answers one document (else the form)
    signature          what is said where a signature is missing, or doesn't stand
    later              steps that follow a course that was gone to its end, where they are asked for

A form is how an answer is written::

    MTReceipt:
      format: xml                  # xml | edifact | platform_file | json: how values are spelled, lines joined
      per: message                 # one file per document, message, whatever is due together (any), or value of a name
      encoding: utf-8
      cased: [guid]                # values in upper or lower case, as a step's "case" says
      name: "{receipt}_{id}.xml"
      file: |                      # a line whose values are all empty is left out
        <Manifest>
        {records}
        </Manifest>
      record: "<Consignment><ID>{bill}</ID></Consignment>"
      writer: acknowledge          # instead of file: the format's own acknowledgement, where the message asks for it

Templates may use every value, and {status} {info} {type} {receipt} {record} {told} {body} {serial} (9 digits) {day}
{year} {at:%Y%m%d} {ms} {id} {reference} (14 characters), {number}: which document of the file, {total}: of how many,
{count}: lines, as the format counts them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from exchange.errors import ConfigurationError
from exchange.options import Strict
from exchange.yamlfile import read


class Says(Strict):
    """One answer, whenever it comes."""

    form: str = ""  # empty: as usual
    status: str = Field("", max_length=10)
    info: str = ""  # may use {names} of values
    case: Literal["", "upper", "lower"] = ""


class Step(Says):
    """One answer to a document: when it comes, and what it says."""

    after: float = Field(ge=0)  # seconds since the document came in
    decides: bool = False
    copies: int = 1  # times it is sent
    whole: bool = True  # cut short where not

    def saying(self, says: Says) -> Step:
        """Return the step with something else said at its time."""
        update = {"status": says.status, "info": says.info} | {
            name: value for name in ("form", "case") if (value := getattr(says, name))
        }
        return self.model_copy(update=update)


Course = tuple[Step, ...]


def _path_alone(value: Any) -> Any:
    return {"copy": value} if isinstance(value, str | list) else value


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class Source(Strict):
    """Where a value comes from."""

    copy_: Annotated[tuple[str, ...], BeforeValidator(_listed)] = Field((), alias="copy")  # several are joined with /
    map: Mapping[str, str] = Field(default_factory=dict)  # what is copied -> what is said; others stay as they are
    give: str = ""  # what the authority gives instead
    since: str = ""  # the status from which on it does
    always: bool = False  # written even where there is nothing to write


Sources = dict[str, Annotated[Source, BeforeValidator(_path_alone)]]


class Form(Strict):
    """How answers of one kind are written."""

    format: Literal["xml", "edifact", "platform_file", "json"]
    receipt: str = ""  # what the answer is called, if not as the form is
    per: str = "message"
    encoding: str = "utf-8"
    cased: tuple[str, ...] = ()
    name: str = ""  # of the file; empty: as usual in the format
    file: str = ""
    record: str = ""
    writer: Literal["", "acknowledge"] = ""

    @model_validator(mode="after")
    def _writes_somehow(self) -> Self:
        if bool(self.file) == bool(self.writer):
            raise ValueError("write 'file' or 'writer'")
        return self


class SignatureRules(Strict):
    """What becomes of a document whose signature is missing (nothing: it needs none), or doesn't stand."""

    missing: Says | None = None
    wrong: Says


class TypeRules(Strict):
    """How some message types are answered; what is empty is as the desk has it."""

    takes: Annotated[tuple[str, ...], BeforeValidator(_listed), Field(min_length=1)]
    document: str = ""
    values: Sources = Field(default_factory=dict)
    fields: Sources = Field(default_factory=dict)
    asks: tuple[str, ...] = ()
    form: str = ""
    course: str = ""
    others: Mapping[str, str] | None = None
    refused: Says | None = None
    refusals: tuple[str, ...] = ()
    fault: Says | None = None
    unlisted: Says | None = None
    receipt: str = ""
    record: str = ""
    signature: SignatureRules | None = None
    later: Course = ()

    @property
    def sources(self) -> Sources:
        """Every value, fields first."""
        return {**self.fields, **self.values}


class Desk(Strict):
    """How the messages of one family are answered."""

    title: Mapping[Literal["zh", "en"], str]
    forms: Mapping[str, Form]
    courses: Mapping[str, Annotated[Course, Field(min_length=1)]]
    form: str
    course: str = ""
    others: Mapping[str, str] = Field(default_factory=dict)
    refused: Says = Says()
    refusals: tuple[str, ...] = ("",)
    fault: Says = Says()
    unlisted: Says = Says()
    invalid: Says = Says()
    types: Annotated[tuple[TypeRules, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        self._require("course", self.courses, *self._courses())
        self._require("form", self.forms, *self._forms())
        for rules in self.types:
            self._require("value", rules.sources, *rules.asks)
        return self

    def filled(self, rules: TypeRules) -> TypeRules:
        """Return the rules of types with everything that they leave to the desk."""
        names = ("form", "course", "others", "refused", "refusals", "fault", "unlisted")
        return rules.model_copy(update={name: getattr(rules, name) or getattr(self, name) for name in names})

    def _courses(self) -> list[str]:
        rules = [self.filled(one) for one in self.types]
        return [name for one in rules for name in (one.course, *(one.others or {}).values())]

    def _forms(self) -> list[str]:
        steps = [step for course in self.courses.values() for step in course]
        said: list[Says | None] = [*steps, self.refused, self.fault, self.unlisted, self.invalid]
        for rules in self.types:
            said += [rules.refused, rules.fault, rules.unlisted, *rules.later]
        named = [says.form for says in said if says and says.form]
        return [self.form, *named, *(rules.form for rules in self.types if rules.form)]

    @staticmethod
    def _require(what: str, known: Mapping[str, Any], *names: str) -> None:
        if unknown := sorted(set(names) - set(known)):
            raise ValueError(f"no {what} is called {', '.join(map(repr, unknown))}")


class Rules(Strict):
    """The whole file."""

    title: Mapping[Literal["zh", "en"], str]
    desks: Annotated[tuple[Desk, ...], Field(min_length=1)]


def load(path: Path) -> Rules:
    """Read the rules of an authority. Raises ConfigurationError with every mistake, OSError where there is no file."""
    document = read(path.read_text("utf-8"), path.name)
    try:
        return Rules.model_validate(document.data)
    except ValidationError as why:
        raise ConfigurationError(document.problems(why, Rules)) from None
