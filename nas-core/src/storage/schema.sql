-- A study in one SQLite file. Whoever changes this raises user_version.
PRAGMA application_id = 0x4E415330; -- "NAS0"
PRAGMA user_version = 1;

-- What decides the trials: space, objective, seed, strategy, lag, configuration. One row.
CREATE TABLE study (
    id     INTEGER PRIMARY KEY CHECK (id = 1),
    record TEXT NOT NULL CHECK (json_valid(record))
) STRICT;

CREATE TABLE trials (
    number       INTEGER PRIMARY KEY CHECK (number >= 0),
    state        TEXT NOT NULL CHECK (state IN ('running', 'complete', 'failed')),
    reward       REAL CHECK ((reward IS NULL) = (state <> 'complete')), -- more is better
    seconds      REAL NOT NULL,                                         -- how long the evaluation took
    architecture TEXT NOT NULL CHECK (json_valid(architecture)),        -- {"path": value, …}
    origin       TEXT NOT NULL CHECK (json_valid(origin)),              -- {"by": "random" | "policy" | "mutation" | "source" | "given", …}
    seed         TEXT NOT NULL,                                         -- decimal: 64 bits without a sign, which INTEGER cannot hold
    metrics      TEXT CHECK (json_valid(metrics) AND (metrics IS NULL) = (state <> 'complete')), -- {"accuracy": 0.9, …}
    failure      TEXT CHECK (json_valid(failure) AND (failure IS NULL) = (state <> 'failed'))    -- {"reason": …, …}
) STRICT;

-- What the strategy said after it observed a trial: {"entropy": 1.2, …}.
CREATE TABLE diagnostics (
    trial   INTEGER PRIMARY KEY REFERENCES trials (number),
    figures TEXT NOT NULL CHECK (json_valid(figures))
) STRICT;
