import Testing

@testable import ServiceRuntime

@Suite struct ConfigurationSectionTests {
    private func section(_ text: String) throws -> ConfigurationSection {
        try ConfigurationDocument(parsing: Array(text.utf8), file: "server.conf").section()
    }

    @Test func namesTheNearestKnownKey() throws {
        var section = try self.section("\n\ntrust_domian = \"x\"\nzzz = 1")
        _ = try section.string("trust_domain")
        let error = #expect(throws: ConfigurationError.self) { try section.finish() }
        #expect(error?.code == .unknownKey)
        #expect(
            error?.message == """
                unknown key "trust_domian" at server.conf:3; did you mean "trust_domain"?
                unknown key "zzz" at server.conf:4
                """)
    }

    @Test func refusesDuplicatesInBothSyntaxes() throws {
        for text in ["a = 1\na = 2", "{\"a\": 1,\n\"a\": 2}"] {
            var section = try self.section(text)
            let error = #expect(throws: ConfigurationError.self) { try section.integer("a") }
            #expect(error?.code == .duplicateKey)
            #expect(error?.message.contains("server.conf:2") == true)
        }
    }

    @Test func refusesWrongTypes() throws {
        var section = try self.section("a = [1]\nb = \"x\"\nc = {}\nd = 1.5\ne = 10\nf = [[1]]")
        #expect(throws: ConfigurationError.self) { try section.string("a") }
        #expect(throws: ConfigurationError.self) { try section.integer("b") }
        #expect(throws: ConfigurationError.self) { try section.boolean("c") }
        #expect(throws: ConfigurationError.self) { try section.integer("d") }
        #expect(throws: ConfigurationError.self) { try section.duration("e") }
        #expect(throws: ConfigurationError.self) { try section.strings("f") }
        #expect(throws: ConfigurationError.self) { try section.section("b") }
    }

    @Test func takesScalarsInQuotesAsSPIREDoes() throws {
        var section = try self.section("a = \"8081\"\nb = \"true\"\nc = 80\nd = 010\ne = 0x10")
        #expect(try section.integer("a") == 8081)
        #expect(try section.boolean("b") == true)
        #expect(try section.string("c") == "80")
        #expect(try section.integer("d") == 8)
        #expect(try section.integer("e") == 16)
    }

    @Test func boundsIntegersAndDurations() throws {
        var section = try self.section("a = 70000\nb = \"1s\"\nc = \"x\"\nd = 99999999999999999999")
        #expect(throws: ConfigurationError.self) { try section.integer("a", in: 0...65535) }
        #expect(throws: ConfigurationError.self) { try section.duration("b", atLeast: .seconds(2)) }
        #expect(throws: ConfigurationError.self) { try section.duration("c") }
        #expect(throws: ConfigurationError.self) { try section.integer("d") }
    }

    @Test func readsLabelledBlocksOfBothSyntaxes() throws {
        for text in [
            "K \"a\" { x = 1 }\nK \"b\" { x = 2 }",
            #"{"K": {"a": {"x": 1}, "b": {"x": 2}}}"#,
            #"{"K": [{"a": {"x": 1}}, {"b": [{"x": 2}]}]}"#,
        ] {
            var section = try self.section(text)
            var found: [String] = []
            for var (label, block) in try section.labelledSections("K") {
                label += "\(try block.integer("x") ?? 0)"
                try block.finish()
                found.append(label)
            }
            #expect(found == ["a1", "b2"])
            try section.finish()
        }
    }

    @Test func refusesWhatIsNotSupportedYetUnlessItAsksForNothing() throws {
        var section = try self.section("a = true\nb = false\nc = []\nd {}")
        try section.unsupported("b", "c", "d", unless: \.asksForNothing)
        let error = #expect(throws: ConfigurationError.self) {
            try section.unsupported("a", unless: \.asksForNothing)
        }
        #expect(error?.message == "known to SPIRE but not supported yet: \"a\" at server.conf:1")
    }
}

@Suite struct NearestNameTests {
    @Test func findsTyposAndNothingElse() {
        let keys = ["trust_domain", "bind_port", "socket_path", "ca_ttl"]
        #expect(NearestName.nearest(to: "trust_domian", among: keys) == "trust_domain")
        #expect(NearestName.nearest(to: "Trust-Domain", among: keys) == "trust_domain")
        #expect(NearestName.nearest(to: "bindport", among: keys) == "bind_port")
        #expect(NearestName.nearest(to: "ca_tl", among: keys) == "ca_ttl")
        #expect(NearestName.nearest(to: "federation", among: keys) == nil)
        #expect(NearestName.nearest(to: "", among: keys) == nil)
        #expect(NearestName.nearest(to: String(repeating: "x", count: 100_000), among: keys) == nil)
    }
}
