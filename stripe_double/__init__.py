"""A stand-in for Stripe, for tests and for `make run`: the calls that Holdfast makes, with faults on demand.

Its state is an SQLite file. `/_control` sets its clock and its faults. Answers have the form that Stripe publishes; a
test checks each one. It imports nothing of Holdfast.
"""
