"""How complete a ticker is, with all of its gaps."""

from quotes.client.endpoint import Endpoint
from quotes.client.rows import Gap, Gaps
from quotes.client.wire import moment_text, row, rows, selection

_GAPS = f"""query ($ticker: Ticker!, $from: DateTime, $to: DateTime) {{
  gaps(ticker: $ticker, from: $from, to: $to) {{ more {selection(Gaps)[1:]} }}"""


async def read(endpoint: Endpoint, span: dict[str, str | None]) -> Gaps:
    """Of a ticker, and the range to which its first answer is bounded."""
    answer = (await endpoint.query(_GAPS, span))["gaps"]
    whole = row(Gaps, answer)
    until = moment_text(whole.until)  # a minute that is over meanwhile is not counted
    while answer["more"] and answer["nodes"]:
        rest = {**span, "from": answer["nodes"][-1]["to"], "to": until}
        answer = (await endpoint.query(_GAPS, rest))["gaps"]
        whole.nodes.extend(rows(Gap, answer["nodes"]))
    return whole
