"""Find and replace code in a module by its syntax tree, so that formatting and comments do not matter."""

import ast
from collections.abc import Iterator


def occurrences(source: str, function: str, code: str) -> int:
    """How often `code` stands in a function of a module; see `replaced` for the arguments."""
    return _Replacing(source, function, code, "").count


def replaced(source: str, function: str, code: str, instead: str) -> str:
    """A module with every occurrence of some code in one of its functions replaced; without comments.

    Args:
        source: of the module.
        function: its qualified name, as in `Class.method`; empty for the whole module.
        code: a statement, an expression, or a keyword argument as in `name=value`.
        instead: code of the same kind; empty to remove it.
    """
    return ast.unparse(ast.fix_missing_locations(_Replacing(source, function, code, instead).tree))


class _Replacing(ast.NodeTransformer):
    def __init__(self, source: str, function: str, code: str, instead: str) -> None:
        self.tree = ast.parse(source)
        self.count = 0
        self._wanted = [ast.dump(node) for node in _readings(code)]
        self._instead = instead
        self.generic_visit(_find(self.tree, function))

    def visit(self, node: ast.AST) -> ast.AST | list[ast.stmt] | None:
        """Replace a node that equals the code; else look below it."""
        if ast.dump(node) not in self._wanted:
            return self.generic_visit(node)
        self.count += 1
        if isinstance(node, ast.stmt):
            return ast.parse(self._instead).body or [ast.Pass()]
        kind = ast.keyword if isinstance(node, ast.keyword) else ast.expr
        return next((found for found in _readings(self._instead) if isinstance(found, kind)), None)


def _find(tree: ast.Module, function: str) -> ast.AST:
    found: ast.AST = tree
    for name in filter(None, function.split(".")):
        inside = (node for node in ast.iter_child_nodes(found) if getattr(node, "name", None) == name)
        found = next(inside, ast.Module([], []))
    return found


def _readings(code: str) -> Iterator[ast.AST]:
    """The statement, the expression and the keyword argument that some code can be."""
    for text in (code, f"_({code})"):
        try:
            statement = ast.parse(text).body
        except SyntaxError:
            continue
        if len(statement) != 1:
            continue
        inner = statement[0]
        if text == code:
            yield inner
            if isinstance(inner, ast.Expr):
                yield inner.value
        elif isinstance(inner, ast.Expr) and isinstance(inner.value, ast.Call):
            yield from inner.value.keywords
