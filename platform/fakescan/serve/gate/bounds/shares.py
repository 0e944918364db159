"""Shares of what a proxy has only so much of, such that nobody can take all of it."""

from collections import Counter


class Shares:
    """How much of a resource each client holds.

    A client may hold `portion` times as much as is free then (dynamic thresholds, Choudhury and Hahne 1998). So one
    alone gets portion / (1 + portion) of it, n greedy ones portion / (1 + n portion) each, and something is always left
    for who holds less: no setting has to foresee how many there will be.
    """

    def __init__(self, portion: float) -> None:
        self._portion = portion
        self._held: Counter[str] = Counter()
        self.total = 0
        """What all clients hold."""

    def allows(self, client: str, amount: int, capacity: int) -> bool:
        """Whether a client may take so much more of a resource that has this capacity."""
        free = capacity - self.total
        return amount <= free and self._held[client] + amount <= self._portion * free

    def take(self, client: str, amount: int) -> None:
        """Counts what a client takes."""
        self._held[client] += amount
        self.total += amount

    def give_back(self, client: str, amount: int) -> None:
        """Counts what a client gives back."""
        self.take(client, -amount)
        if self._held[client] <= 0:
            del self._held[client]
