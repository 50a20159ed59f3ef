import Foundation
import SPIFFE
import ServerTestSupport
import Testing
import Transparency

@testable import ServerCore

@Suite struct LiveSVIDsTests {
    /// A million with `CYGNET_LONG=1`, else a hundredth.
    private static let many =
        ProcessInfo.processInfo.environment["CYGNET_LONG"] == "1" ? 1_000_000 : 10_000

    @Test func `serial numbers come out as they went in`() {
        for text in ["1", "a", "10", "ff", "deadbeef", "123456789abcdef0123456789abcdef012345678"] {
            #expect(Bytes32(hexNumber: text)?.hexNumber == text)
        }
        #expect(Bytes32(hexNumber: "00AB")?.hexNumber == "ab")
        for text in ["", "g", "-1", "a b", String(repeating: "1", count: 65)] {
            #expect(Bytes32(hexNumber: text) == nil)
        }
        let bytes = (0..<32).map { UInt8($0) }
        #expect(Bytes32(bytes).bytes == bytes)
        #expect(Bytes16(bytes).bytes == Array(bytes.prefix(16)))
        #expect(Bytes16([7]).bytes == [7] + [UInt8](repeating: 0, count: 15))
    }

    @Test func `a row stays small`() {
        #expect(MemoryLayout<LiveSVIDs.Row?>.stride <= 136)
    }

    @Test func `among many live SVIDs a revocation finds its own, and expiry empties the table`()
        throws
    {
        var live = LiveSVIDs()
        let start: Int64 = 1_900_000_000
        // 100 to an entry, so that one in a hundred of the entries is one in a hundred of the SVIDs.
        let entries = Self.many / 100
        for number in 1...Self.many {
            let entry = number % entries
            let subject = try Sample.subject(
                "/\(entry % 100)/\(entry)", number % 4 == 0 ? .jwt : .x509, entry: "e\(entry)",
                selectors: ["k:\(entry % 50)"], node: "/spire/agent/x/\(entry % 37)")
            #expect(
                live.insert(Sample.svid(number, subject, expiresAt: start + Int64(number % 1_000)))
                    != nil)
        }
        #expect(live.count == Self.many)
        #expect(live.rows(try Sample.revocation("r", .pathPrefix, "/7")).count == Self.many / 100)
        #expect(live.rows(try Sample.revocation("r", .selector, "k:3")).count == Self.many / 50)
        #expect(live.rows(try Sample.revocation("r", .entryID, "e5")).count == 100)
        #expect(
            live.rows(try Sample.revocation("r", .spiffeID, "spiffe://acme.test/5/5")).count == 100)
        let ofAgent = (0..<entries).filter { $0 % 37 == 11 }.count * 100
        #expect(
            live.rows(try Sample.revocation("r", .agentID, "spiffe://acme.test/spire/agent/x/11"))
                .count == ofAgent)
        #expect(live.rows(try Sample.revocation("r", .authorityID, "a1")).count == Self.many)
        #expect(live.rows(serial: "1").count == 1)
        #expect(live.rows(try Sample.revocation("r", .jti, "jti-4")).count == 1)
        #expect(live.prune(now: start - 1).isEmpty)
        #expect(live.prune(now: start + 499, limit: 10).count == 10)
        #expect(live.prune(now: start + 499).count == Self.many / 2 - 10)
        #expect(live.prune(now: start).isEmpty, "a clock that goes back")
        #expect(live.count == Self.many / 2)
        #expect(live.prune(now: start + 10_000_000_000).count == Self.many / 2)
        #expect(live.count == 0 && live.rows.allSatisfy { $0 == nil })
        #expect(live.rows(try Sample.revocation("r", .authorityID, "a1")).isEmpty)
    }

    @Test func `under random changes the table equals a plain list`() throws {
        var random = SeededGenerator(seed: 5)
        var live = LiveSVIDs()
        var model: [Int: (path: String, entry: String?, node: String?, end: Int64)] = [:]
        var now: Int64 = 1_000
        for number in 1...3_000 {
            let path = "/p\(Int.random(in: 0..<6, using: &random))"
            let entry =
                Bool.random(using: &random) ? "e\(Int.random(in: 0..<5, using: &random))" : nil
            let node =
                Bool.random(using: &random)
                ? "/spire/agent/n\(Int.random(in: 0..<4, using: &random))" : nil
            let end = now + Int64.random(in: 1...200, using: &random)
            let subject = try Sample.subject(path, entry: entry, node: node)
            _ = live.insert(Sample.svid(number, subject, expiresAt: end))
            #expect(live.insert(Sample.svid(number, subject, expiresAt: end)) == nil, "twice")
            model[number] = (path, entry, node, end)
            if number % 7 == 0 {
                now += Int64.random(in: 0...10, using: &random)
                _ = live.prune(now: now)
                model = model.filter { $0.value.end > now }
            }
            guard number % 50 == 0 else { continue }
            func serials(_ rows: Set<UInt32>) -> Set<String> {
                Set(rows.compactMap { live.rows[Int($0)]?.secret.hexNumber })
            }
            func expected(_ body: (String, String?, String?) -> Bool) -> Set<String> {
                Set(
                    model.filter { body($0.value.path, $0.value.entry, $0.value.node) }.keys.map {
                        String($0, radix: 16)
                    })
            }
            #expect(live.count == model.count)
            for index in 0..<4 {
                let node = "/spire/agent/n\(index)"
                let subject = try Sample.subject("/p1", entry: "e1", node: node)
                let counts = live.counts(node: try Sample.id(node), subject)
                let ofNode = model.values.filter { $0.node == node }
                #expect(Int(counts.ofNode.certificates) == ofNode.count)
                #expect(
                    Int(counts.ofSubject.certificates)
                        == ofNode.filter { $0.path == "/p1" && $0.entry == "e1" }.count)
            }
            for index in 0..<6 {
                let byID = try Sample.revocation("r", .spiffeID, "spiffe://acme.test/p\(index)")
                #expect(serials(live.rows(byID)) == expected { path, _, _ in path == "/p\(index)" })
                let byEntry = try Sample.revocation("r", .entryID, "e\(index)")
                #expect(
                    serials(live.rows(byEntry)) == expected { _, entry, _ in entry == "e\(index)" })
                let byNode = try Sample.revocation(
                    "r", .agentID, "spiffe://acme.test/spire/agent/n\(index)")
                #expect(
                    serials(live.rows(byNode))
                        == expected { _, _, node in node == "/spire/agent/n\(index)" })
            }
        }
    }
}
