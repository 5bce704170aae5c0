"""Loopback stand-ins for the outside: real HTTP, real validation, misbehaviour on demand.

The demo, the tests and a new developer run against them; nothing here leaves the machine.
"""
