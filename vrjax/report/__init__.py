"""What is shown of a run, and what is claimed of it. Import the module you need: they have different dependencies.

| module | what is in it |
| --- | --- |
| `claims` | a claim, `results.json` written and read, the table of many runs |
| `judge` | the rule that gives one of three verdicts |
| `statistics` | intervals and tests, every draw seeded |
| `parts` | the records that a page and a figure are made of |
| `html` | one self-contained page |
| `figures` | figures from the same records |
| `sheet` | clips of a task as a picture |
| `tables` | tables of text that may be hostile |
"""
