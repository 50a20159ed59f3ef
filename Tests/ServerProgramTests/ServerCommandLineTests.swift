import ArgumentParser
import ControlPlaneProto
import NIOConcurrencyHelpers
import SPIFFE
import ServiceRuntime
import SwiftProtobuf
import Testing

@testable import ServerProgram

/// What a command line wrote, and its exit code.
struct Outcome: Sendable {
    let code: Int32
    let output: String
    let errors: String
}

@Suite struct ServerCommandLineTests {
    private func run(_ arguments: String...) async -> Outcome {
        let output = NIOLockedValueBox("")
        let errors = NIOLockedValueBox("")
        let context = CommandContext(environment: [:]) { text in
            output.withLockedValue { $0 += text }
        } errorOutput: { text in
            errors.withLockedValue { $0 += text }
        }
        let code = await CommandContext.$current.withValue(context) {
            await ServerCommandLine.main(arguments: arguments, run: { _ in })
        }
        return Outcome(
            code: code, output: output.withLockedValue { $0 }, errors: errors.withLockedValue { $0 }
        )
    }

    @Test func mapsResultsToExitCodes() async {
        #expect(await self.run().code == 127)
        #expect(await self.run("bogus").code == 127)
        #expect(await self.run("entry", "shw").code == 127)
        #expect(await self.run("entry").code == 1)
        #expect(await self.run("-version").code == 0)
        #expect(await self.run("-help").code == 0)
        #expect(await self.run("entry", "show", "-h").code == 0)
        #expect(await self.run("entry", "show", "-bogus").code == 1)
        #expect(await self.run("entry", "show", "-bogush").code == 1)
    }

    @Test func namesTheNearestCommand() async {
        let outcome = await self.run("entry", "shwo")
        #expect(outcome.errors.contains("hint: cygnet-server entry show"))
        #expect(outcome.output.isEmpty)
    }

    @Test func saysHowToReachTheServer() async {
        let outcome = await self.run("bundle", "count", "-socketPath=/nonexistent/api.sock")
        #expect(outcome.code == 1)
        #expect(
            outcome.errors.hasPrefix("Error: cannot reach the server at \"/nonexistent/api.sock\""))
        #expect(outcome.errors.contains("hint: "))
    }

    @Test(arguments: [
        ["entry", "create", "-spiffeID", "spiffe://a/b"],
        [
            "entry", "create", "-spiffeID", "spiffe://a/b", "-selector", "nocolon", "-parentID",
            "spiffe://a/c",
        ],
        ["entry", "create", "-spiffeID", "spiffe://a/b", "-selector", "a:b"],
        ["entry", "create", "-selector", "a:b", "-parentID", "spiffe://a/c"],
        [
            "entry", "create", "-node", "-spiffeID", "spiffe://a/b", "-selector", "a:b",
            "-federatesWith", "x",
        ],
        ["entry", "update", "-spiffeID", "spiffe://a/b"],
        ["entry", "show", "-entryID", "x", "-spiffeID", "spiffe://a/b"],
        ["entry", "delete"], ["agent", "show"], ["agent", "list", "-expiresBefore", "today"],
        ["x509", "mint"], ["jwt", "mint", "-spiffeID", "spiffe://a/b"],
        ["token", "generate", "-spiffeID", "x"], ["validate", "-config", "/nonexistent"],
        ["entry", "show", "-output", "yaml"], ["jwt", "mint", "-ttl", "1d"], ["wit", "mint"],
        ["wit", "mint", "-spiffeID", "spiffe://a/b", "-signingAlgorithm", "EdDSA"],
        ["wit", "mint", "-spiffeID", "spiffe://a/b", "-keyType", "ec-p384"],
        ["federation", "create"], ["federation", "show"], ["federation", "delete"],
        ["federation", "accept", "hello"],
        ["federation", "accept", "cygnet-invite-2.x"],
        ["federation", "accept", "cygnet-invite-1.a.b"],
        ["federation", "invite", "-ttl", "0s"], ["federation", "limits", "set"],
        ["federation", "limits", "set", "-trustDomain", "b.test"],
        ["federation", "limits", "set", "-trustDomain", "b.test", "-use", "wit"],
        ["federation", "limits", "set", "-trustDomain", "b.test", "-acceptedPath", "agents/*"],
        ["federation", "limits", "delete"],
        ["federation", "refresh"], ["bundle", "set"], ["bundle", "delete"],
        ["bundle", "delete", "-id", "b.test", "-mode", "purge"],
        ["bundle", "set", "-id", "b.test", "-path", "/nonexistent"],
        ["federation", "create", "-data", "-", "-trustDomain", "b.test"],
        [
            "federation", "create", "-trustDomain", "b.test", "-bundleEndpointURL", "https://b",
            "-bundleEndpointProfile", "web",
        ],
        [
            "federation", "create", "-trustDomain", "b.test", "-bundleEndpointURL", "https://b",
            "-bundleEndpointProfile", "https_spiffe",
        ],
        ["wit", "mint", "-spiffeID", "spiffe://a/b", "-signingAlgorithm", "RS256"],
        ["localauthority", "x509", "activate"], ["localauthority", "jwt", "taint"],
        ["localauthority", "wit", "revoke"], ["localauthority", "x509", "show", "-bogus"],
        ["upstreamauthority", "taint"], ["upstreamauthority", "revoke"],
    ])
    func refusesBadFlags(_ arguments: [String]) async {
        let context = CommandContext(environment: [:], output: { _ in }, errorOutput: { _ in })
        let code = await CommandContext.$current.withValue(context) {
            await ServerCommandLine.main(arguments: arguments, run: { _ in })
        }
        #expect(code == 1)
    }

    @Test func makesKeysThatFitTheirAlgorithm() throws {
        for (type, algorithm) in [
            ("ec-p256", "ES256"), ("ec-p384", "ES384"), ("rsa-2048", "PS256"),
        ] {
            let key = try WITMintCommand.key(type: type, algorithm: algorithm)
            #expect(key.algorithm.rawValue == algorithm)
        }
        #expect(throws: CommandError.self) {
            try WITMintCommand.key(type: "rsa-2048", algorithm: "ES256")
        }
        var svid = Spire_Api_Types_WITSVID()
        svid.token = "a.b.c"
        #expect(
            try WITMintCommand.json(privateKey: #"{"d":"x"}"#, svid: svid)
                == #"{"private_key":"{\"d\":\"x\"}","svid":{"expires_at":"0","hint":"","issued_at":"0","token":"a.b.c"}}"#
        )
    }

    @Test func readsRelationshipsFromAFile() throws {
        func read(_ text: String) throws -> [Spire_Api_Types_FederationRelationship] {
            try RelationshipInput.read(
                try ConfigurationDocument(parsing: Array(text.utf8), file: "data.json"))
        }
        let found = try read(
            """
            {"federationRelationships": [
              {"trustDomain": "b.test", "bundleEndpointURL": "https://b.test",
               "bundleEndpointProfile": "https_web"},
              {"trustDomain": "c.test", "bundleEndpointURL": "https://c.test",
               "bundleEndpointProfile": "https_spiffe", "endpointSPIFFEID": "spiffe://c.test/x",
               "trustDomainBundle": {"keys": [], "spiffe_sequence": 9007199254740993},
               "trustDomainBundleFormat": "spiffe"}]}
            """)
        #expect(found.map(\.trustDomain) == ["b.test", "c.test"])
        #expect(found[0].bundleEndpointProfile == .httpsWeb(.init()))
        #expect(!found[0].hasTrustDomainBundle)
        #expect(found[1].httpsSpiffe.endpointSpiffeID == "spiffe://c.test/x")
        #expect(found[1].trustDomainBundle.sequenceNumber == 9_007_199_254_740_993)
        for bad in [
            "{}", "{\"federationRelationships\": [{}]}",
            "{\"federationRelationships\": [{\"trustDomain\": \"b.test\"}]}",
            "{\"federationRelationship\": []}",
        ] {
            #expect(throws: (any Error).self, "\(bad)") { try read(bad) }
        }
    }

    @Test func writesRelationshipsAsScriptsReadThem() throws {
        let relationship = Spire_Api_Types_FederationRelationship.with {
            $0.trustDomain = "b.test"
            $0.bundleEndpointURL = "https://b.test"
            $0.httpsSpiffe = .with { $0.endpointSpiffeID = "spiffe://b.test/x" }
        }
        #expect(
            RelationshipBlock.text(relationship)
                == """
                Trust domain              : b.test
                Bundle endpoint URL       : https://b.test
                Bundle endpoint profile   : https_spiffe
                Endpoint SPIFFE ID        : spiffe://b.test/x

                """)
        #expect(
            try CommandContext.json(relationship)
                == #"{"bundle_endpoint_url":"https://b.test","https_spiffe":{"endpoint_spiffe_id":"spiffe://b.test/x"},"trust_domain":"b.test"}"#
        )
        let status = PartnerStatusBlock.text(
            .with {
                $0.trustDomain = "b.test"
                $0.lastSuccess = 40
                $0.hasBundle_p = true
                $0.sequenceNumber = 7
                $0.lastError = "away\n"
                $0.failures = 2
                $0.nextAttempt = 160
            }, now: 100)
        #expect(status.contains("Sequence number           : 7\n"))
        #expect(status.contains("Age                       : 1m0s\n"))
        #expect(status.contains("Next attempt              : in 1m0s\n"))
        #expect(status.contains("Last error                : away\\u{a}\n"))
    }

    @Test func saysThatARequestWaits() throws {
        let partner = Cygnet_Federation_V1_PartnerStatus.with {
            $0.trustDomain = "b.test"
            $0.waiting = true
        }
        #expect(
            PartnerStatusBlock.text(partner, now: 100).contains(
                "Next attempt              : waiting: the partner answers when its bundle changes\n"
            ))
        var status = Cygnet_Federation_V1_GetStatusResponse.with { $0.partners = [partner] }
        #expect(try CommandContext.json(status).contains(#","waiting":true,"#))
        status.partners[0].waiting = false
        #expect(try CommandContext.json(status).contains(#","waiting":false,"#))
        #expect(
            PartnerStatusBlock.text(status.partners[0], now: 100).contains(
                "Next attempt              : under way\n"))
    }

    @Test func takesGoSpellings() throws {
        let arguments = try GoArguments.normalised(
            [
                "-spiffeID=spiffe://a/b", "--parentID", "spiffe://a/c", "-selector", "a:b",
                "-selector=c:d",
                "-admin=true", "-downstream=false", "-x509SVIDTTL", "60", "-dns", "-odd", "-hint=",
            ], switches: ServerCommandLine.switches)
        let flags = try EntryFlags.parse(arguments)
        let inputs = try flags.inputs(isNode: false, needsID: false)
        let entry = try #require(inputs.first).entryForCreation
        #expect(entry.spiffeID.text == "spiffe://a/b" && entry.parentID.text == "spiffe://a/c")
        #expect(entry.selectors.map(\.text) == ["a:b", "c:d"])
        #expect(entry.admin && !entry.downstream && entry.x509SvidTtl == 60)
        #expect(entry.dnsNames == ["-odd"] && !entry.hasAdditionalAttributes)
    }

    @Test func revokeOnExitIsSetLeftOpenAndSwitchedOff() throws {
        func input(_ more: String...) throws -> EntryInput {
            let arguments = try GoArguments.normalised(
                ["-spiffeID", "spiffe://a/b", "-parentID", "spiffe://a/c", "-selector", "a:b"]
                    + more, switches: ServerCommandLine.switches)
            let flags = try EntryFlags.parse(arguments)
            return try #require(try flags.inputs(isNode: false, needsID: false).first)
        }
        var current = Spire_Api_Types_Entry.AdditionalAttributes()
        current.revokeOnExit = true
        let on = try input("-revokeOnExit").entryForCreation
        #expect(on.additionalAttributes.revokeOnExit)
        #expect(!(try input().entryForCreation.hasAdditionalAttributes))
        #expect(try input().entryForUpdate(current).additionalAttributes.revokeOnExit)
        for flag in ["-noRevokeOnExit", "-revokeOnExit=false", "--revokeOnExit=F"] {
            let off = try input(flag).entryForUpdate(current).additionalAttributes
            #expect(off.hasRevokeOnExit && !off.revokeOnExit)
            #expect(try !input(flag).entryForCreation.additionalAttributes.revokeOnExit)
        }
        #expect(try input("-revokeOnExit=1").entryForCreation.additionalAttributes.revokeOnExit)
        #expect(throws: CommandError.self) { try input("-revokeOnExit", "-noRevokeOnExit") }
        let both = try input("-revokeOnExit=false", "-noRevokeOnExit").revokeOnExit
        #expect(both == false)
    }

    @Test func anUpdateReplacesAllButTheAdditionalAttributesThatItDoesNotName() throws {
        var current = Spire_Api_Types_Entry.AdditionalAttributes()
        current.disableX509SvidPrefetch = true
        current.jwtSvidIncludeJti = true
        let arguments = try GoArguments.normalised(
            [
                "-spiffeID", "spiffe://a/b", "-parentID", "spiffe://a/c", "-selector", "a:b",
                "-admin=false", "-storeSVID=false", "-disableX509SVIDPrefetch=false",
            ], switches: ServerCommandLine.switches)
        let inputs = try EntryFlags.parse(arguments).inputs(isNode: false, needsID: false)
        let entry = try #require(inputs.first).entryForUpdate(current)
        #expect(!entry.admin && !entry.storeSvid && !entry.downstream)
        #expect(!entry.additionalAttributes.disableX509SvidPrefetch)
        #expect(entry.additionalAttributes.jwtSvidIncludeJti)
    }

    @Test func everySwitchOfEveryCommandTakesGoValues() throws {
        let (flags, options) = try CommandFlags.names(of: ServerCommandLine.RootCommand.self)
        #expect(flags.count > 10 && options.count > 30)
        let switches = ServerCommandLine.switches
        // The parser's own "help" has a short name.
        #expect(flags.subtracting(["h", "help", "version"]) == switches.plain)
        #expect(switches.threeWay.isSubset(of: options))
        // What is a switch of one command must not take a value in another.
        #expect(options.isDisjoint(with: switches.plain))
    }

    @Test func readsEntriesFromJSON() throws {
        let json = """
            {"entries": [{"spiffe_id": "spiffe://a/b", "parent_id": "spiffe://a/c", "entry_id": "e1",
              "selectors": [{"type": "unix", "value": "uid:1"}], "x509_svid_ttl": 60, "entryExpiry": 5,
              "federates_with": ["spiffe://d"], "dns_names": ["x"], "hint": "h", "admin": true,
              "additional_attributes": {"jwt_svid_include_jti": true, "revoke_on_exit": true}}]}
            """
        let document = try ConfigurationDocument(parsing: Array(json.utf8), file: "e.json")
        let input = try #require(try EntryInput.read(document).first)
        #expect(input.entry.id == "e1" && input.entry.expiresAt == 5 && input.entry.admin)
        #expect(input.revokeOnExit == true)
        #expect(input.disableX509SVIDPrefetch == nil && input.jwtSVIDIncludeJTI == true)
        var current = Spire_Api_Types_Entry.AdditionalAttributes()
        current.disableX509SvidPrefetch = true
        let merged = input.entryForUpdate(current).additionalAttributes
        #expect(merged.disableX509SvidPrefetch && merged.jwtSvidIncludeJti)
    }
}

@Suite struct OutputTests {
    private func entry() -> Spire_Api_Types_Entry {
        .with {
            $0.id = "e1"
            $0.spiffeID.trustDomain = "example.org"
            $0.spiffeID.path = "/web"
            $0.parentID.trustDomain = "example.org"
            $0.parentID.path = "/node"
            $0.selectors = [
                .with {
                    $0.type = "unix"
                    $0.value = "uid:1000\nEntry ID: x"
                }
            ]
        }
    }

    @Test func printsEntryBlocks() {
        #expect(
            EntryBlock.text(self.entry()) == """
                Entry ID                : e1
                SPIFFE ID               : spiffe://example.org/web
                Parent ID               : spiffe://example.org/node
                Revision                : 0
                X509-SVID TTL           : default
                JWT-SVID TTL            : default
                Selector                : unix:uid:1000\\u{a}Entry ID: x


                """)
    }

    @Test func printsOptionalLines() {
        var entry = self.entry()
        entry.downstream = true
        entry.admin = true
        entry.storeSvid = true
        entry.hint = "h"
        entry.x509SvidTtl = 60
        entry.expiresAt = 1_700_000_000
        entry.federatesWith = ["other.org"]
        entry.dnsNames = ["a.example.org"]
        entry.additionalAttributes.disableX509SvidPrefetch = true
        let labels = EntryBlock.text(entry).split(separator: "\n").map {
            $0.prefix(24).trimmingPrefix(" ").split(separator: "  ").first.map(String.init) ?? ""
        }
        #expect(labels.contains("Downstream") && labels.contains("StoreSvid"))
        #expect(
            EntryBlock.text(entry).contains(
                "Expiration time         : 2023-11-14 22:13:20 +0000 UTC\n"))
        #expect(EntryBlock.text(entry).contains("DisableX509SvidPrefetch : true\n"))
        #expect(!EntryBlock.text(entry).contains("RevokeOnExit"))
        entry.additionalAttributes.revokeOnExit = true
        #expect(EntryBlock.text(entry).contains("RevokeOnExit            : true\n"))
    }

    @Test func printsAgentBlocks() {
        var agent = Spire_Api_Types_Agent.with {
            $0.id.trustDomain = "example.org"
            $0.id.path = "/spire/agent/x"
            $0.attestationType = "join_token"
            $0.x509SvidSerialNumber = "12"
        }
        #expect(
            AgentBlock.text(agent).contains("Serial number     : 12\nCan re-attest     : false\n"))
        agent.banned = true
        #expect(AgentBlock.text(agent).contains("Banned            : true\n"))
        #expect(!AgentBlock.text(agent).contains("Serial"))
    }

    @Test func printsJSONOnOneLine() throws {
        var options = JSONEncodingOptions()
        options.preserveProtoFieldNames = true
        let json = try self.entry().jsonString(options: options)
        let line = try Spire_Api_Types_Entry.shape.complete(json: Array(json.utf8))
        #expect(
            line
                == #"{"admin":false,"created_at":"0","dns_names":[],"downstream":false,"expires_at":"0","#
                + #""federates_with":[],"hint":"","id":"e1","jwt_svid_ttl":0,"parent_id":{"path":"/node","#
                + #""trust_domain":"example.org"},"revision_number":"0","selectors":[{"type":"unix","#
                + #""value":"uid:1000\nEntry ID: x"}],"spiffe_id":{"path":"/web","trust_domain":"#
                + #""example.org"},"store_svid":false,"x509_svid_ttl":0}"#)
    }

    /// What a table adds must be what the generated code calls these fields and takes for their zero.
    @Test func addsOnlyFieldsThatExist() throws {
        let messages: [any ShapedMessage.Type] = [
            Spire_Api_Types_Entry.self, Spire_Api_Types_Agent.self, Spire_Api_Types_Bundle.self,
            Spire_Api_Types_JoinToken.self, Spire_Api_Server_Entry_V1_ListEntriesResponse.self,
            Spire_Api_Server_Entry_V1_CountEntriesResponse.self,
            Spire_Api_Server_Entry_V1_BatchCreateEntryResponse.self,
            Spire_Api_Server_Entry_V1_BatchUpdateEntryResponse.self,
            Spire_Api_Server_Entry_V1_BatchDeleteEntryResponse.self,
            Spire_Api_Server_Agent_V1_ListAgentsResponse.self,
            Spire_Api_Server_Agent_V1_CountAgentsResponse.self,
            Spire_Api_Server_Bundle_V1_CountBundlesResponse.self,
            Spire_Api_Server_Svid_V1_MintJWTSVIDResponse.self,
        ]
        for type in messages { try self.check(type) }
    }

    private func check<Message: ShapedMessage>(_ type: Message.Type) throws {
        let line = try type.shape.complete(json: Array("{}".utf8))
        let message = try Message(jsonString: line)
        #expect(message.isEqualTo(message: Message()), "\(type)")
    }

    @Test("BND-05, BND-09, BND-10: a bundle document says how new it is and when to look again")
    func printsBundleDocuments() throws {
        var bundle = Spire_Api_Types_Bundle()
        bundle.trustDomain = "example.org"
        bundle.sequenceNumber = 7
        #expect(
            try SPIFFEBundleText.json(bundle)
                == #"{"keys":[],"spiffe_refresh_hint":300,"spiffe_sequence":7}"#)
        bundle.refreshHint = 60
        #expect(
            try SPIFFEBundleText.json(bundle)
                == #"{"keys":[],"spiffe_refresh_hint":60,"spiffe_sequence":7}"#)
    }

    @Test func printsPurgedAgents() {
        let outcome = AgentPurgeCommand.Outcome(
            id: .with {
                $0.trustDomain = "a"
                $0.path = "/b"
            }, deleted: false, error: "x\"y")
        #expect(
            AgentPurgeCommand.json([outcome])
                == #"{"expired_agents":[{"agent_id":"spiffe://a/b","deleted":false,"error":"x\"y"}]}"#
        )
    }
}
