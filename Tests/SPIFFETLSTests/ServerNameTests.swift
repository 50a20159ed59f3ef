import Testing

@testable import SPIFFETLS

@Suite("Names of servers of the Web PKI") struct ServerNameTests {
    @Test("RFC 9525 §6: equal names match, and a wildcard stands for one whole label")
    func matching() {
        let rows: [(host: String, presented: String, matches: Bool)] = [
            ("a.test", "a.test", true), ("A.Test", "a.tEST", true), ("a.test.", "a.test", true),
            ("a.test", "a.test.", true), ("a.test", "b.test", false), ("a.test", "xa.test", false),
            ("b.a.test", "a.test", false), ("a.test", "b.a.test", false),
            ("b.a.test", "*.a.test", true), ("c.b.a.test", "*.a.test", false),
            ("a.test", "*.a.test", false), ("a.test", "*.test", false), ("test", "*", false),
            ("a.test", "*", false), ("a.test", "*.*", false), ("ab.a.test", "a*.a.test", false),
            ("b.a.test", "b.*.test", false), ("*.a.test", "*.a.test", true),
            (".a.test", "*.a.test", false),
            ("a.test", "", false), ("", "", false), ("localhost", "localhost", true),
        ]
        for row in rows {
            #expect(
                ServerName(host: row.host).matches(row.presented) == row.matches,
                "\(row.host) by \(row.presented)")
        }
    }
}
