"""Sphinx directives that show what the code declares: methods, overviews of them, and the options of commands."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from method_tables import method_markdown, overview
from sphinx.application import Sphinx
from sphinx.directives.other import TocTree
from sphinx.util import docname_join
from sphinx.util.docutils import SphinxDirective
from sphinx.util.matching import patfilter


class MethodDirective(SphinxDirective):
    """Facts, parameters and citation of one method."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Parse what the declaration says as if it stood in the page."""
        return self.parse_text_to_nodes(method_markdown(self.arguments[0]))


class MethodsDirective(SphinxDirective):
    """Overview of all methods of one kind."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Parse the overview as if it stood in the page."""
        return self.parse_text_to_nodes(overview(self.arguments[0]))


class OptionalTocTree(TocTree):
    """A ``toctree`` of patterns, less those that match no page: pages that may not have been written yet."""

    def run(self) -> list[nodes.Node]:
        """Drop the patterns without a match, which would be warnings that cannot be switched off by their kind."""
        here = self.env.docname
        self.content = StringList(
            [pattern for pattern in self.content if patfilter(self.env.found_docs, docname_join(here, pattern))]
        )
        self.options["glob"] = None
        return super().run() if self.content else []


class CommandHelpDirective(SphinxDirective):
    """What a command prints when it is asked for its options."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Show the help text as it is."""
        from qsm_recon.__main__ import MODULES

        name = self.arguments[0]
        module = import_module(f"qsm_recon.{MODULES.get(name, name)}")
        return [nodes.literal_block(text=module.build_parser().format_help(), language="text")]


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directives."""
    app.add_directive("qsm-method", MethodDirective)
    app.add_directive("qsm-methods", MethodsDirective)
    app.add_directive("optional-toctree", OptionalTocTree)
    app.add_directive("command-help", CommandHelpDirective)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
