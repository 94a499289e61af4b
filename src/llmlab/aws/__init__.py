"""The only boto3 of the command line: one file per kind of resource, plus thin verbs. botocore's errors end here."""
