"""The Online Retail importer: what is kept, what is left out and why, and snapshots as of each date."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from openpyxl import Workbook

from recjobs import storage
from recjobs.errors import ContractError, CorruptFileError, MissingInputError
from recjobs.settings import load_settings
from recjobs.sources.importing import ImportReport
from recjobs.sources.online_retail import SOURCE_COLUMNS, import_online_retail

REAL = Path(__file__).parents[3] / "shared" / "data" / "online-retail" / "by-day"

GOOD = ["536365", "85123a ", "WHITE  HEART", "6", "2010-12-01 08:26:00", "2.55", "17850.0", "United Kingdom"]


def row(**changes: str) -> list[str]:
    return [changes.get(name, value) for name, value in zip(SOURCE_COLUMNS, GOOD, strict=True)]


def write_csv(path: Path, rows: list[list[str]], header: tuple[str, ...] = SOURCE_COLUMNS) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(",".join(cells) for cells in [list(header), *rows]) + "\n")
    return path


def partition(into: Path, kind: str, day: str) -> pl.DataFrame:
    return pl.read_parquet(into / kind / f"date={day}" / "part-00000.parquet")


def test_a_good_row_becomes_a_purchase(tmp_path: Path) -> None:
    report = import_online_retail(write_csv(tmp_path / "retail.csv", [GOOD]), str(tmp_path / "in"))
    assert partition(tmp_path / "in", "events", "2010-12-01").to_dicts() == [
        {
            "user_id": "17850",
            "item_id": "85123A",
            "event_type": "purchase",
            "timestamp": datetime(2010, 12, 1, 8, 26, tzinfo=UTC),
            "value": 2.55,
            "quantity": 6.0,
            "country": "United Kingdom",
            "session_id": "536365",
        }
    ]
    assert (report.read, report.kept, report.dates) == (1, 1, (date(2010, 12, 1),))


def test_summer_time_is_stored_in_utc(tmp_path: Path) -> None:
    source = write_csv(tmp_path / "retail.csv", [row(InvoiceDate="2011-07-01 08:00:00")])
    import_online_retail(source, str(tmp_path / "in"))
    assert partition(tmp_path / "in", "events", "2011-07-01")["timestamp"][0].hour == 7


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"InvoiceNo": "C536379", "Quantity": "-1"}, "cancellation"),
        ({"StockCode": "POST"}, "no product"),
        ({"StockCode": "m"}, "no product"),
        ({"StockCode": "BANK CHARGES"}, "no product"),
        ({"StockCode": "gift_0001_20"}, "no product"),
        ({"StockCode": "C2"}, "no product"),
        ({"StockCode": "PADS"}, "no product"),
        ({"StockCode": "23444"}, "no product"),
        ({"CustomerID": ""}, "no customer"),
        ({"Quantity": "0"}, "quantity not above 0"),
        ({"Quantity": "many"}, "quantity not above 0"),
        ({"UnitPrice": "0.0"}, "price not above 0"),
        ({"InvoiceDate": "soon"}, "unreadable time"),
    ],
)
def test_a_row_is_left_out_under_its_reason(tmp_path: Path, changes: dict[str, str], reason: str) -> None:
    source = write_csv(tmp_path / "retail.csv", [GOOD, row(**changes)])
    report = import_online_retail(source, str(tmp_path / "in"))
    assert {name: count for name, count in report.left_out.items() if count} == {reason: 1}
    assert report.kept == 1


@pytest.mark.parametrize("code", ["85123A", "15056BL", "10002", "DCGSSGIRL", "DCGS0003"])
def test_product_codes_are_kept(tmp_path: Path, code: str) -> None:
    source = write_csv(tmp_path / "retail.csv", [row(StockCode=code)])
    assert import_online_retail(source, str(tmp_path / "in")).kept == 1


def test_a_row_with_two_faults_counts_once_and_both_are_told(tmp_path: Path) -> None:
    source = write_csv(tmp_path / "retail.csv", [GOOD, row(CustomerID="", UnitPrice="0")])
    report = import_online_retail(source, str(tmp_path / "in"))
    assert report.left_out["no customer"] == 1
    assert report.left_out["price not above 0"] == 0
    assert report.faults["price not above 0"] == 1
    assert report.kept + sum(report.left_out.values()) == report.read == 2


def test_repeated_lines_of_an_invoice_stay(tmp_path: Path) -> None:
    report = import_online_retail(write_csv(tmp_path / "retail.csv", [GOOD, GOOD]), str(tmp_path / "in"))
    assert report.events == 2


def sold(day: int, title: str, price: float, **changes: str) -> list[str]:
    return row(Description=title, UnitPrice=str(price), InvoiceDate=f"2010-12-{day:02d} 10:00:00", **changes)


def test_snapshots_hold_what_had_been_seen_until_their_date(tmp_path: Path) -> None:
    rows = [
        sold(1, "OLD NAME", 2.0),
        sold(2, "NEW NAME", 3.0, Country="France"),
        sold(2, "NEW NAME", 3.0, CustomerID=""),
        sold(3, "THIRD", 9.0, StockCode="22222"),
    ]
    import_online_retail(write_csv(tmp_path / "retail.csv", rows), str(tmp_path / "in"))
    days = ["2010-12-01", "2010-12-02", "2010-12-03"]
    items = [partition(tmp_path / "in", "items", day) for day in days]
    assert [frame["item_id"].to_list() for frame in items] == [["85123A"], ["85123A"], ["22222", "85123A"]]
    assert [frame.filter(pl.col("item_id") == "85123A")["title"].item() for frame in items] == [
        "OLD NAME",
        "NEW NAME",
        "NEW NAME",
    ]
    assert [frame.filter(pl.col("item_id") == "85123A")["price"].item() for frame in items] == [2.0, 3.0, 3.0]
    assert items[2]["created_at"].to_list() == [
        datetime(2010, 12, 3, 10, tzinfo=UTC),
        datetime(2010, 12, 1, 10, tzinfo=UTC),
    ]
    users = [partition(tmp_path / "in", "users", day)["country"].to_list() for day in days]
    assert users == [["United Kingdom"], ["France"], ["United Kingdom"]]


def test_an_even_split_of_titles_keeps_the_first_and_of_prices_the_lower(tmp_path: Path) -> None:
    source = write_csv(tmp_path / "retail.csv", [sold(1, "ZEBRA", 5.0), sold(2, "APPLE", 4.0)])
    import_online_retail(source, str(tmp_path / "in"))
    latest = partition(tmp_path / "in", "items", "2010-12-02")
    assert latest.select("title", "price").rows() == [("ZEBRA", 4.0)]


def test_rows_of_the_future_change_no_earlier_file(tmp_path: Path) -> None:
    rows = [sold(1, "A", 2.0), sold(2, "B", 3.0)]
    import_online_retail(write_csv(tmp_path / "short.csv", rows), str(tmp_path / "short"))
    later = [*rows, sold(3, "C", 1.0), sold(3, "C", 1.0), sold(3, "D", 1.0, StockCode="10002")]
    import_online_retail(write_csv(tmp_path / "long.csv", later), str(tmp_path / "long"))
    for file in storage.list_files(str(tmp_path / "short")):
        if file.name.endswith(".parquet"):
            assert storage.digest(file.uri) == storage.digest(str(tmp_path / "long" / file.name)), file.name


def test_folder_csv_and_workbook_give_the_same_files(tmp_path: Path) -> None:
    rows = [GOOD, row(InvoiceNo="C1", Quantity="-1"), sold(2, "LANTERN", 3.39, StockCode="71053", CustomerID="")]
    rows.append(sold(2, "LANTERN", 3.39, StockCode="71053"))
    write_csv(tmp_path / "days" / "2010-12-01.csv", rows[:2])
    write_csv(tmp_path / "days" / "2010-12-02.csv", rows[2:])
    write_csv(tmp_path / "retail.csv", rows)
    sources = [tmp_path / "days", tmp_path / "retail.csv", write_workbook(tmp_path / "retail.xlsx", rows)]
    digests = []
    for number, source in enumerate(sources):
        into = str(tmp_path / f"in{number}")
        report = import_online_retail(source, into)
        assert (report.read, report.kept) == (4, 2)
        digests.append([(f.name, storage.digest(f.uri)) for f in storage.list_files(into) if "parquet" in f.name])
    assert digests[0] == digests[1] == digests[2]


def write_workbook(path: Path, rows: list[list[str]]) -> Path:
    """`rows` with numbers and times as the original workbook has them."""
    book = Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.append(list(SOURCE_COLUMNS))
    for invoice, code, title, quantity, when, price, customer, country in rows:
        cells = [
            int(invoice) if invoice.isdigit() else invoice,
            int(code) if code.isdigit() else code,
            title,
            int(quantity),
            datetime.fromisoformat(when),
            float(price),
            float(customer) if customer else None,
            country,
        ]
        sheet.append(cells)
    book.save(path)
    return path


def test_the_windows_code_page_is_read(tmp_path: Path) -> None:
    source = tmp_path / "retail.csv"
    text = "\n".join(",".join(cells) for cells in [list(SOURCE_COLUMNS), row(Description="VOUCHER £20")])
    source.write_bytes(text.encode("cp1252"))
    import_online_retail(source, str(tmp_path / "in"))
    assert partition(tmp_path / "in", "items", "2010-12-01")["title"].item() == "VOUCHER £20"


def test_the_same_import_again_changes_nothing_and_a_shorter_one_leaves_nothing_over(tmp_path: Path) -> None:
    source, into = tmp_path / "retail.csv", str(tmp_path / "in")
    write_csv(source, [sold(1, "A", 1.0), sold(2, "A", 1.0)])

    def digests() -> list[tuple[str, str]]:
        return [(file.name, storage.digest(file.uri)) for file in storage.list_files(into)]

    import_online_retail(source, into)
    before = digests()
    import_online_retail(source, into)
    assert digests() == before
    write_csv(source, [sold(1, "A", 1.0)])
    import_online_retail(source, into)
    assert storage.list_folders(f"{into}/events") == storage.list_folders(f"{into}/items") == ["date=2010-12-01"]


def test_partitions_of_something_else_are_not_touched(tmp_path: Path) -> None:
    other = tmp_path / "in" / "events" / "date=2020-01-01" / "part-00000.parquet"
    other.parent.mkdir(parents=True)
    other.write_bytes(b"theirs")
    with pytest.raises(ContractError, match="empty folder"):
        import_online_retail(write_csv(tmp_path / "retail.csv", [GOOD]), str(tmp_path / "in"))
    assert other.read_bytes() == b"theirs"


def test_the_report_is_beside_the_partitions(tmp_path: Path) -> None:
    report = import_online_retail(write_csv(tmp_path / "retail.csv", [GOOD]), str(tmp_path / "in"))
    stored = ImportReport.model_validate_json((tmp_path / "in" / "import-report.json").read_bytes())
    assert stored == report


def test_clear_errors(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match="no such file"):
        import_online_retail(tmp_path / "nothing", str(tmp_path / "in"))
    short = write_csv(tmp_path / "short.csv", [GOOD[:7]], SOURCE_COLUMNS[:7])
    with pytest.raises(ContractError, match=r"short\.csv: no column 'Country'"):
        import_online_retail(short, str(tmp_path / "in"))
    broken = tmp_path / "broken.xlsx"
    broken.write_bytes(b"not a workbook")
    with pytest.raises(CorruptFileError, match=r"broken\.xlsx: can't be read"):
        import_online_retail(broken, str(tmp_path / "in"))


@pytest.mark.skipif(not REAL.is_dir(), reason="the real data is not on this machine")
def test_the_shipped_config_declares_exactly_the_days_without_trade() -> None:
    traded = {date.fromisoformat(file.stem) for file in REAL.glob("*.csv")}
    days = [min(traded) + timedelta(days=n) for n in range((max(traded) - min(traded)).days + 1)]
    events = load_settings("online-retail").events
    closed = {day for day in days if day.weekday() == 5} | set(events.closed_dates)
    assert events.closed_weekdays == ["sat"]
    assert {day for day in days if day not in traded} == closed
