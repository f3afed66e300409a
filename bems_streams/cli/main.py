"""The `bems` command: finds each command when it is called, so that `bems --help` imports nothing heavy.

Not here: what commands do. Each lives in the file named in COMMANDS, or behind a `bems.commands` entry point.
"""

from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, Final

import click

COMMANDS: Final = {
    "local": ("bems_streams.cli.local:command", "Parts of a cell on this machine, such as a real Kafka broker."),
    "topics": ("bems_streams.cli.topics:command", "Compare the cluster's topics with the catalogue, and create them."),
    "gateway": ("bems_streams.cli.gateway:command", "Accept events over HTTP; answer once they are durable."),
    "console": ("bems_streams.cli.console:command", "The live page: stages, stuck invoices, search."),
    "simulate": ("bems_streams.cli.simulate:command", "Send made-up but realistic invoices through a gateway."),
    "feed": ("bems_streams.cli.feed:command", "Send a file of events through a gateway."),
    "invoice": ("bems_streams.cli.invoice:command", "Show one invoice with its timeline."),
    "receipt": ("bems_streams.cli.receipt:command", "What became of an accepted event, by its receipt."),
    "stuck": ("bems_streams.cli.stuck:command", "List stuck invoices, longest first."),
    "ledger": ("bems_streams.cli.ledger:command", "What was accepted, and what became of it; proven."),
    "dlq": ("bems_streams.cli.dlq:command", "Dead letters: list, show, export, send again."),
    "export": ("bems_streams.cli.export:command", "Write events or invoices to a file."),
    "capacity": ("bems_streams.cli.capacity:command", "What a rate needs: processes, brokers, disk, cost."),
    "demo": ("bems_streams.cli.demo:command", "A whole cell on this machine, fed and watched."),
    "prove": ("bems_streams.cli.prove:command", "Break a cell on this machine under load: nothing may be lost."),
}
WORKER_HELP: Final = "Run an agent: tracker or sink."


class LazyGroup(click.Group):
    """Commands by name, imported on use; commands of other packages by entry point."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the order a newcomer meets them."""
        return [*COMMANDS, *sorted(point.name for point in entry_points(group="bems.commands"))]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return the command; None when nobody offers it."""
        if cmd_name in COMMANDS:
            module, _, attribute = COMMANDS[cmd_name][0].partition(":")
            loaded = getattr(import_module(module), attribute)
            assert isinstance(loaded, click.Command)
            return loaded
        for point in entry_points(group="bems.commands", name=cmd_name):
            loaded = point.load()
            assert isinstance(loaded, click.Command)
            return loaded
        return None

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; a setting that cannot be read is the user's to correct, not a traceback."""
        try:
            return super().invoke(ctx)
        except ValueError as error:
            from pydantic import ValidationError

            if not isinstance(error, ValidationError) or not error.title.endswith("Settings"):
                raise
            slips = "\n".join(f"  BEMS_{slip['loc'][0]!s}".upper() + f": {slip['msg']}" for slip in error.errors())
            raise click.ClickException(f"correct these environment variables:\n{slips}") from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List names with their help, without importing any of them."""
        rows = [(name, text) for name, (_, text) in COMMANDS.items()]
        rows += [(name, WORKER_HELP) for name in self.list_commands(ctx) if name not in COMMANDS]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="bems-streams")
def main() -> None:
    """Watch every invoice: keep its events, show where it is, say when it is stuck."""
