import GRDB

/// The migrations of the embedded store. A migration that has shipped never changes.
enum Schema {
    static var migrator: DatabaseMigrator {
        var migrator = DatabaseMigrator()
        migrator.registerMigration("1: entries, nodes, tokens, bundles, journal, change feed") {
            db in
            try db.execute(
                sql: """
                    CREATE TABLE meta (
                        key TEXT NOT NULL PRIMARY KEY,
                        value TEXT NOT NULL
                    );
                    -- The head of the change feed: one row, moved inside the write transaction.
                    CREATE TABLE feed_head (
                        id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
                        seq INTEGER NOT NULL
                    );
                    INSERT INTO feed_head (id, seq) VALUES (1, 0);
                    CREATE TABLE changes (
                        seq INTEGER NOT NULL PRIMARY KEY,
                        kind TEXT NOT NULL,
                        key TEXT NOT NULL
                    );
                    -- Lists (selectors, names) are kept as NUL-separated text; none of their items has a NUL.
                    CREATE TABLE entries (
                        id TEXT NOT NULL PRIMARY KEY,
                        spiffe_path TEXT NOT NULL,
                        parent_path TEXT NOT NULL,
                        selectors BLOB NOT NULL,
                        similarity INTEGER NOT NULL UNIQUE,
                        x509_svid_ttl INTEGER NOT NULL,
                        jwt_svid_ttl INTEGER NOT NULL,
                        federates_with BLOB NOT NULL,
                        flags INTEGER NOT NULL,
                        expires_at INTEGER NOT NULL,
                        dns_names BLOB NOT NULL,
                        revision INTEGER NOT NULL,
                        hint TEXT NOT NULL,
                        created_at INTEGER NOT NULL
                    );
                    -- Only for the aliases of join tokens, which go with their agent ("spiffe_id:" in hex): an index over
                    -- all parents would cost every insert two random pages.
                    CREATE INDEX entries_alias ON entries (parent_path)
                        WHERE substr(selectors, 1, 10) = X'7370696666655F69643A';
                    CREATE TABLE nodes (
                        id TEXT NOT NULL PRIMARY KEY,
                        attestation_type TEXT NOT NULL,
                        serial TEXT NOT NULL,
                        expires_at INTEGER NOT NULL,
                        prepared_serial TEXT NOT NULL,
                        prepared_expires_at INTEGER NOT NULL,
                        selectors BLOB NOT NULL,
                        can_reattest INTEGER NOT NULL,
                        agent_version TEXT NOT NULL
                    );
                    -- Only the SHA-256 of a token is kept: who reads the store cannot attest with it.
                    CREATE TABLE join_tokens (
                        token_sha256 BLOB NOT NULL PRIMARY KEY,
                        expires_at INTEGER NOT NULL
                    );
                    CREATE TABLE bundles (
                        trust_domain TEXT NOT NULL PRIMARY KEY,
                        refresh_hint INTEGER NOT NULL,
                        sequence_number INTEGER NOT NULL
                    );
                    CREATE TABLE bundle_x509_authorities (
                        trust_domain TEXT NOT NULL REFERENCES bundles ON DELETE CASCADE,
                        position INTEGER NOT NULL,
                        der BLOB NOT NULL,
                        tainted INTEGER NOT NULL,
                        PRIMARY KEY (trust_domain, position)
                    );
                    CREATE TABLE bundle_jwt_authorities (
                        trust_domain TEXT NOT NULL REFERENCES bundles ON DELETE CASCADE,
                        position INTEGER NOT NULL,
                        key_id TEXT NOT NULL,
                        public_key BLOB NOT NULL,
                        expires_at INTEGER NOT NULL,
                        tainted INTEGER NOT NULL,
                        PRIMARY KEY (trust_domain, position)
                    );
                    CREATE TABLE authority_journal (
                        position INTEGER NOT NULL PRIMARY KEY,
                        kind TEXT NOT NULL,
                        slot TEXT NOT NULL,
                        authority_id TEXT NOT NULL,
                        status TEXT NOT NULL,
                        issued_at INTEGER NOT NULL,
                        not_after INTEGER NOT NULL,
                        der BLOB NOT NULL
                    );
                    """)
        }
        migrator.registerMigration("WIT authorities of bundles") { db in
            try db.execute(
                sql: """
                    CREATE TABLE bundle_wit_authorities (
                        trust_domain TEXT NOT NULL REFERENCES bundles ON DELETE CASCADE,
                        position INTEGER NOT NULL,
                        key_id TEXT NOT NULL,
                        public_key BLOB NOT NULL,
                        expires_at INTEGER NOT NULL,
                        tainted INTEGER NOT NULL,
                        PRIMARY KEY (trust_domain, position)
                    );
                    """)
        }
        migrator.registerMigration("federation relationships, numbers of partners' bundles") { db in
            try db.execute(
                sql: """
                    -- endpoint_spiffe_id is null with the profile https_web.
                    CREATE TABLE federation_relationships (
                        trust_domain TEXT NOT NULL PRIMARY KEY,
                        bundle_endpoint_url TEXT NOT NULL,
                        endpoint_spiffe_id TEXT
                    );
                    -- The number that the partner gave its bundle; null when it gave none.
                    ALTER TABLE bundles ADD COLUMN foreign_sequence INTEGER;
                    -- Whether the partner's endpoint delivered it.
                    ALTER TABLE bundles ADD COLUMN fetched INTEGER NOT NULL DEFAULT 0;
                    """)
        }
        migrator.registerMigration("leaves of changes") { db in
            try db.execute(
                sql: """
                    -- What the ledger says of the change, as a leaf with the time of the change; kept until it is recorded, and null
                    -- when the ledger says nothing.
                    ALTER TABLE changes ADD COLUMN leaf BLOB;
                    -- Changes up to here are in the ledger. What was changed before there was one is not.
                    ALTER TABLE feed_head ADD COLUMN recorded INTEGER NOT NULL DEFAULT 0;
                    UPDATE feed_head SET recorded = seq;
                    """)
        }
        migrator.registerMigration("revocations") { db in
            try db.execute(
                sql: """
                    -- hits: 16 bytes for each SVID that was hit; null until its making is recorded. end_caller is null while it
                    -- lasts; a row that has ended stays until that is recorded.
                    CREATE TABLE revocations (
                        id TEXT NOT NULL PRIMARY KEY,
                        target_type TEXT NOT NULL,
                        target TEXT NOT NULL,
                        and_children INTEGER NOT NULL,
                        suspension INTEGER NOT NULL,
                        replacement INTEGER NOT NULL,
                        reason TEXT NOT NULL,
                        caller TEXT NOT NULL,
                        created_at INTEGER NOT NULL,
                        expires_at INTEGER NOT NULL,
                        hits BLOB,
                        end_reason TEXT,
                        end_caller TEXT
                    );
                    -- What is unfinished is looked for at every start, and is next to nothing.
                    CREATE INDEX revocations_unfinished ON revocations (created_at, id)
                        WHERE hits IS NULL OR end_caller IS NOT NULL;
                    """)
        }
        migrator.registerMigration("limits of partners") { db in
            try db.execute(
                sql: """
                    -- limits_paths: 0 when every path is accepted; accepted_paths says nothing then. uses: 1 for X509-SVIDs,
                    -- 2 for JWT-SVIDs, 3 for both.
                    CREATE TABLE partner_limits (
                        trust_domain TEXT NOT NULL PRIMARY KEY,
                        limits_paths INTEGER NOT NULL,
                        accepted_paths BLOB NOT NULL,
                        uses INTEGER NOT NULL
                    );
                    """)
        }
        return migrator
    }
}
