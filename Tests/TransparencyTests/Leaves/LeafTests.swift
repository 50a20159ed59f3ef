import SPIFFE
import Testing
import Transparency

@Suite("Leaves")
struct LeafTests {
    static func issued() throws -> SVIDIssuedLeaf {
        SVIDIssuedLeaf(
            svidType: .x509, spiffeID: try SPIFFEID("spiffe://example.org/db"), serial: "4f3a",
            svidDigest: [1, 2], keyThumbprint: [0xAB, 0xCD],
            notAfter: LeafTime(seconds: 1_700_003_600),
            authorityID: "a1", entryID: "e1", entryRevision: 3,
            node: try SPIFFEID("spiffe://example.org/spire/agent/n1"), caller: "uid:0",
            selectorsDigest: [3], evidenceDigest: [4])
    }

    static func all() throws -> [LeafEvent] {
        let node = try SPIFFEID("spiffe://example.org/spire/agent/n1")
        var events: [LeafEvent] = [
            .svidIssued(try Self.issued()),
            .svidIssued(
                SVIDIssuedLeaf(
                    svidType: .jwt, spiffeID: node, jti: "j\"1", svidDigest: [],
                    notAfter: LeafTime(seconds: 0),
                    authorityID: "", caller: "self", statusIndex: 0, signingInputDigest: [6, 7])),
            .svidRefused(SVIDRefusedLeaf(reason: "revoked", svidType: .wit, caller: "uid:5")),
            .svidRefused(
                SVIDRefusedLeaf(
                    reason: "unauthorized", svidType: .x509, spiffeID: node, entryID: "e",
                    node: node,
                    caller: node.string, revocationID: "r1")),
            .revocationCreated(
                RevocationCreatedLeaf(
                    revocationID: "r1", targetType: "path_prefix", target: "/ns", andChildren: true,
                    isSuspension: true, isReplacement: true, reason: "stolen \u{1F600}",
                    expiresAt: LeafTime(milliseconds: 5), affected: 12, caller: "uid:0", seq: 9)),
            .revocationCreated(
                RevocationCreatedLeaf(
                    revocationID: "r2", targetType: "serial", target: "4f3a", reason: "",
                    caller: "self",
                    seq: 10)),
            .revocationLifted(
                RevocationLiftedLeaf(revocationID: "r1", reason: "found", caller: "uid:0", seq: 11)),
            .adminCall(
                AdminCallLeaf(method: "m/M", caller: "uid:0", status: "OK", requestDigest: [9])),
            .custodyRecorded(
                CustodyLeaf(
                    transaction: "t", spiffeID: node, action: "open valve", peer: node,
                    statement: "a.b.c", receipt: "d.e.f", statementDigest: [1], serial: "1f",
                    node: node)),
            .custodyRecorded(
                CustodyLeaf(
                    transaction: "t", spiffeID: node, action: "x", statement: "a.b.c",
                    statementDigest: [], serial: "0", node: node)),
            .other(
                type: "custody.lost",
                members: ["n": .array([.int(1), .null]), "é": .bool(true)]),
        ]
        for action in NodeLeaf.Action.allCases {
            events.append(
                .node(
                    NodeLeaf(
                        action: action, node: node, attestationType: "join_token", serial: "1",
                        notAfter: LeafTime(seconds: 7), selectorsDigest: [1], evidenceDigest: [2],
                        caller: "self", seq: 4)))
        }
        events.append(
            .change(
                ChangeLeaf(
                    kind: .authority, action: .prepared, subject: "a1", authorityType: .wit,
                    caller: "uid:0")))
        for kind in ChangeLeaf.Kind.allCases {
            for action in ChangeLeaf.Action.allCases {
                events.append(
                    .change(
                        ChangeLeaf(
                            kind: kind, action: action, subject: "s", seq: 5, revision: 1,
                            authorityType: .jwt, contentDigest: [5], caller: "self")))
            }
        }
        return events
    }

    @Test("a token's leaf has its place in the status list and the digest of what was signed")
    func tokenBytes() throws {
        let leaf = SVIDIssuedLeaf(
            svidType: .jwt, spiffeID: try SPIFFEID("spiffe://example.org/db"), svidDigest: [1],
            notAfter: LeafTime(seconds: 0), authorityID: "k", caller: "self", statusIndex: 12,
            signingInputDigest: [0x0A, 0xFF])
        let text = String(
            decoding: try Leaf(time: LeafTime(seconds: 0), event: .svidIssued(leaf)).encode(),
            as: UTF8.self)
        #expect(text.contains(#","signing_input_digest":"0aff","spiffe_id":"#))
        #expect(text.contains(#","status_index":12,"svid_digest":"#))
    }

    @Test("leaves are written as the general encoder writes them")
    func general() throws {
        for event in try Self.all() {
            for milliseconds in [0, 1_700_000_000_123, -62_135_596_800_000] as [Int64] {
                let time = LeafTime(milliseconds: milliseconds)
                var members: [String: JSONValue] = [:]
                for (name, value) in event.members { members[name] = value }
                members["v"] = .int(1)
                members["type"] = .string(event.type)
                members["time"] = .string(time.description)
                #expect(
                    try Leaf(time: time, event: event).encode()
                        == CanonicalJSON.encode(.object(members)), "\(event.type)")
            }
        }
    }

    @Test("the bytes of an issued SVID are exactly these")
    func bytes() throws {
        let leaf = Leaf(
            time: LeafTime(milliseconds: 1_700_000_000_123), event: .svidIssued(try Self.issued()))
        #expect(
            String(decoding: try leaf.encode(), as: UTF8.self)
                == #"{"authority_id":"a1","caller":"uid:0","entry_id":"e1","entry_revision":3,"evidence_digest":"04","#
                + #""key_thumbprint":"abcd","node":"spiffe://example.org/spire/agent/n1","#
                + #""not_after":"2023-11-14T23:13:20Z","selectors_digest":"03","serial":"4f3a","#
                + #""spiffe_id":"spiffe://example.org/db","svid_digest":"0102","svid_type":"x509","#
                + #""time":"2023-11-14T22:13:20.123Z","type":"svid.issued","v":1}"#)
    }

    @Test("every type is canonical, and reads back as it was written")
    func roundTrip() throws {
        var types: Set<String> = []
        for event in try Self.all() {
            let leaf = Leaf(time: LeafTime(milliseconds: 1_700_000_000_123), event: event)
            let bytes = try leaf.encode()
            #expect(CanonicalJSON.isCanonical(bytes), "\(event.type)")
            #expect(try Leaf(parsing: bytes) == leaf, "\(event.type)")
            types.insert(event.type)
        }
        #expect(types.count == 7 + 4 + 32)
    }

    @Test("unknown types, members and versions are read, and known types in another form")
    func lenient() throws {
        func event(_ text: String) throws -> LeafEvent { try Leaf(parsing: Array(text.utf8)).event }
        let head = #""time":"2023-11-14T22:13:20Z","v":7,"#
        #expect(
            try event(#"{\#(head)"type":"new.thing","x":1}"#)
                == .other(type: "new.thing", members: ["x": .int(1)]))
        #expect(
            try event(
                #"{\#(head)"type":"admin.call","method":"m","caller":"c","status":"OK","new":{}}"#)
                == .adminCall(AdminCallLeaf(method: "m", caller: "c", status: "OK")))
        for type in [
            "admin.call", "svid.issued", "node.attested", "entry.created", "node.x", "x", "entry.",
            ".",
        ] {
            #expect(
                try event(#"{\#(head)"type":"\#(type)","caller":5}"#)
                    == .other(type: type, members: ["caller": .int(5)]))
        }
    }

    @Test(
        "what is no leaf is refused",
        arguments: [
            "", "{}", "[]", "null", "{", #"{"v":1,"type":"a"}"#,
            #"{"v":0,"type":"a","time":"2023-11-14T22:13:20Z"}"#,
            #"{"v":"1","type":"a","time":"2023-11-14T22:13:20Z"}"#,
            #"{"v":1.5,"type":"a","time":"2023-11-14T22:13:20Z"}"#,
            #"{"v":1,"type":"","time":"2023-11-14T22:13:20Z"}"#,
            #"{"v":1,"type":"a","time":"yesterday"}"#,
            #"{"v":1,"type":"a","type":"a","time":"2023-11-14T22:13:20Z"}"#,
            #"{"v":1,"type":"a","time":"2023-11-14T22:13:20Z"} x"#,
        ])
    func malformed(text: String) {
        #expect(refusal { _ = try Leaf(parsing: Array(text.utf8)) } == .malformedLeaf)
    }

    @Test("a leaf that is too long, or has a number that readers would round, is not written")
    func limits() throws {
        func encode(_ event: LeafEvent) throws {
            _ = try Leaf(time: LeafTime(seconds: 0), event: event).encode()
        }
        let long = String(repeating: "a", count: 65_536)
        #expect(
            refusal {
                try encode(.adminCall(AdminCallLeaf(method: long, caller: "c", status: "OK")))
            } == .tooLarge)
        func lifted(_ seq: Int64) -> LeafEvent {
            .revocationLifted(
                RevocationLiftedLeaf(revocationID: "r", reason: "", caller: "c", seq: seq))
        }
        #expect(refusal { try encode(lifted(1 << 53)) } == nil)
        #expect(refusal { try encode(lifted(1 << 53 + 1)) } == .malformedLeaf)
        #expect(refusal { try encode(lifted(.max)) } == .malformedLeaf)
        let event = LeafEvent.other(
            type: "a", members: ["type": .string("svid.issued"), "v": .int(9)])
        let bytes = try Leaf(time: LeafTime(seconds: 0), event: event).encode()
        #expect(
            String(decoding: bytes, as: UTF8.self)
                == #"{"time":"1970-01-01T00:00:00Z","type":"a","v":1}"#)
    }

    @Test("a filter finds what is asked for and nothing else")
    func filter() throws {
        let leaf = Leaf(time: LeafTime(seconds: 100), event: .svidIssued(try Self.issued()))
        func matches(_ change: (inout LeafFilter) -> Void) -> Bool {
            var filter = LeafFilter()
            #expect(filter.isEmpty)
            change(&filter)
            return filter.matches(leaf)
        }
        #expect(matches { _ in })
        #expect(matches { $0.type = "svid" } && matches { $0.type = "svid.issued" })
        #expect(!matches { $0.type = "svi" } && !matches { $0.type = "svid.issue" })
        #expect(matches { $0.spiffeID = "spiffe://example.org/db" })
        #expect(!matches { $0.spiffeID = "spiffe://example.org/spire/agent/n1" })
        #expect(matches { $0.node = "spiffe://example.org/spire/agent/n1" })
        #expect(matches { $0.serial = "4f3a" } && matches { $0.serial = "00:4F:3A" })
        #expect(!matches { $0.serial = "4f3" } && !matches { $0.jti = "4f3a" })
        #expect(matches { $0.entryID = "e1" } && !matches { $0.entryID = "e" })
        #expect(matches { $0.caller = "uid:0" } && !matches { $0.caller = "uid:1" })
        #expect(
            matches { $0.since = LeafTime(seconds: 100) }
                && matches { $0.until = LeafTime(seconds: 100) })
        #expect(
            !matches { $0.since = LeafTime(seconds: 101) }
                && !matches { $0.until = LeafTime(seconds: 99) })
        let change = ChangeLeaf(
            kind: .entry, action: .created, subject: "e1", seq: 1, caller: "self")
        var filter = LeafFilter()
        filter.entryID = "e1"
        #expect(filter.matches(Leaf(time: LeafTime(seconds: 0), event: .change(change))))
        #expect(
            LeafFilter.normalized(serial: "00:00") == "0" && LeafFilter.normalized(serial: "") == ""
        )
    }
}
