"""Tables of measurements in files of the user's: CSV and Parquet."""

from collectors_dagster.integrations.tables.instants import instant_of
from collectors_dagster.integrations.tables.reading import Handling, MeasuredTable, Repairs, read_table
from collectors_dagster.integrations.tables.writing import write_table

__all__ = ["Handling", "MeasuredTable", "Repairs", "instant_of", "read_table", "write_table"]
