"""s3."""

from xml.parsers import expat

from llmlab.sandbox.refusals.rule import Call, Rule

MOST_DELETED = 1000
MALFORMED = "The XML you provided was not well-formed or did not validate against our published schema"


def _no_xml(call: Call) -> bool:
    """A parser of XML 1.0 refuses characters that it has not, also as `&#x1B;`."""
    try:
        expat.ParserCreate().Parse(call.values["Body"], True)
    except expat.ExpatError:
        return True
    return False


def _too_many(call: Call) -> bool:
    return bool(call.values["Body"].count(b"<Object>") > MOST_DELETED)


ROWS: tuple[Rule, ...] = (
    Rule(
        "keys-that-xml-has-not", ("s3:DeleteObjects",), "a key holds a character that XML 1.0 has not, such as a control character",
        "MalformedXML", MALFORMED, "https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html", applies=_no_xml, status=400,
    ),
    Rule(
        "more-than-a-thousand-deletions", ("s3:DeleteObjects",), "the request names more than 1,000 keys",
        "MalformedXML", MALFORMED, "https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html", applies=_too_many, status=400,
    ),
)  # fmt: skip
