-- One row for each notebook that was ever launched, with the record as JSON.
CREATE TABLE server (
    user TEXT NOT NULL,
    name TEXT NOT NULL,
    phase TEXT NOT NULL,
    record TEXT NOT NULL,
    PRIMARY KEY (user, name)
) STRICT, WITHOUT ROWID;
