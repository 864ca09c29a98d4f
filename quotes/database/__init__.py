"""Every SQL statement, the tables, the connections and the migrations."""
