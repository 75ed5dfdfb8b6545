"""The crowd: people judge pictures of synthetic and real sequences, blind, by mail or on a page, and what came of it.

A review is a folder that may be handed on: nothing in it says who anybody is (`review`). Addresses, and the secret that
signs letters, lie elsewhere and can be erased (`people`).
"""
