"""The nouns of the platform: frozen values that stages hand to each other.

Belongs here: records, table schemas, verdicts, the UseCase value, ports. Does not belong here: anything that
computes, reads or writes. Imports the standard library and pydantic only; everybody may import it.
"""
