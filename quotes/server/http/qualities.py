"""What a client accepts, as the headers of content negotiation say it (RFC 9110, 12.4.2)."""


def qualities(header: str) -> list[tuple[str, float]]:
    """Each name of an Accept or Accept-Encoding header, in lower case, and its q."""
    found = []
    for each in header.split(","):
        name, *parameters = (part.strip().lower() for part in each.split(";"))
        if name:
            found.append((name, _quality(parameters)))
    return found


def _quality(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0
