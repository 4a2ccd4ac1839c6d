"""Groups of commands that help who names a command that does not exist."""

from __future__ import annotations

import difflib

import click


class HintingGroup(click.Group):
    """A group that names the command that was probably meant, and what ``hint`` adds."""

    def hint(self, name: str) -> str:
        """What else there is to say to who named this command, which does not exist; "" for nothing."""
        return ""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            near = difflib.get_close_matches(args[0], self.list_commands(ctx), n=1)
            meant = f"Did you mean {near[0]}?" if near else ""
            raise click.UsageError(
                " ".join(filter(None, [error.message, meant, self.hint(args[0])])), ctx
            ) from error
