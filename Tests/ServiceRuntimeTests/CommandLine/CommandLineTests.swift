import Testing

@testable import ServiceRuntime

@Suite struct GoArgumentsTests {
    private let switches = GoSwitches(["node", "admin"], threeWay: ["open"])

    private func normalised(_ arguments: String...) throws -> [String] {
        try GoArguments.normalised(arguments, switches: self.switches)
    }

    @Test func rewritesSwitchesWithValues() throws {
        #expect(
            try self.normalised(
                "entry", "-node=true", "--admin=F", "-hint=node=x", "-x=1", "--", "-node=false")
                == ["entry", "-node", "-hint=node=x", "-x=1", "--", "-node=false"])
        #expect(try self.normalised("-open", "a") == ["-open=true", "a"])
        #expect(try self.normalised("--open=f") == ["-open=false"])
        #expect(try self.normalised("-x") == ["-x"], "not given, not said")
    }

    @Test(
        "takes what Go's strconv.ParseBool takes",
        arguments: [
            (["1", "t", "T", "TRUE", "true", "True"], true),
            (["0", "f", "F", "FALSE", "false", "False"], false),
        ])
    func booleans(_ texts: [String], _ want: Bool) throws {
        for text in texts {
            #expect(try self.normalised("-node=" + text) == (want ? ["-node"] : []))
            #expect(try self.normalised("--open=" + text) == ["-open=\(want)"])
        }
    }

    @Test(arguments: ["yes", "", "tRUE", "2", "true ", "=true", "on", "falſe"])
    func refusesOtherValues(_ text: String) {
        for flag in ["-node", "--node", "-open"] {
            let error = #expect(throws: CommandError.self) {
                try self.normalised(flag + "=" + text)
            }
            #expect(error?.message.contains("expected true or false") == true)
        }
    }

    @Test func takesTheLastOfSeveral() throws {
        #expect(try self.normalised("-node", "-x=1", "--node=false") == ["-x=1"])
        #expect(try self.normalised("-node=false", "-x=1", "-node") == ["-x=1", "-node"])
        #expect(
            try self.normalised("-node", "-admin", "-node=0", "-node=1") == ["-admin", "-node"])
        #expect(try self.normalised("-open", "-open=false") == ["-open=false"])
        #expect(try self.normalised("-open=false", "-open") == ["-open=true"])
    }

    @Test func leavesValuesOfOtherFlagsAlone() throws {
        #expect(
            try self.normalised("-hint", "-node=false", "-node") == [
                "-hint", "-node=false", "-node",
            ])
        #expect(try self.normalised("-hint", "-node", "-node=0") == ["-hint", "-node"])
        #expect(try self.normalised("-hint", "--", "-node=0") == ["-hint", "--"])
        #expect(try self.normalised("-file", "-", "-node=1") == ["-file", "-", "-node"])
        #expect(try self.normalised("-", "-node=1") == ["-", "-node"])
        // A switch takes no argument; neither does the flag for help.
        #expect(try self.normalised("-node", "-admin=0") == ["-node"])
        #expect(try self.normalised("-help", "-admin=1") == ["-help", "-admin"])
    }

    @Test func knowsTheShortFormOfHelp() throws {
        for (arguments, want) in [
            (["-h"], ["-help"]), (["entry", "-h", "-x", "1"], ["entry", "-help", "-x", "1"]),
            (["-node", "-h"], ["-node", "-help"]), (["-x=1", "-h"], ["-x=1", "-help"]),
            (["-hint", "-h"], ["-hint", "-h"]), (["--", "-h"], ["--", "-h"]),
        ] {
            #expect(try GoArguments.normalised(arguments, switches: self.switches) == want)
        }
    }
}

@Suite struct SocketResolutionTests {
    private let environment = [
        "SPIRE_SERVER_PRIVATE_SOCKET": "/env.sock",
        "SPIRE_SERVER_PRIVATE_SOCKET_TEMPLATE": "/run/%i/a.sock",
    ]

    @Test func followsTheOrder() throws {
        let server = SocketResolution.server
        let environment = self.environment
        #expect(try server.path(socketPath: "/f", instance: "a", environment: environment) == "/f")
        #expect(
            try server.path(socketPath: server.defaultPath, instance: "a", environment: environment)
                == "/run/a/a.sock")
        #expect(
            try server.path(socketPath: server.defaultPath, instance: "", environment: environment)
                == "/env.sock")
        #expect(
            try server.path(socketPath: server.defaultPath, instance: "", environment: [:])
                == "/tmp/spire-server/private/api.sock")
    }

    @Test func needsATemplateForAnInstance() {
        for template in [nil, "", "/run/a.sock"] {
            #expect(throws: CommandError.self) {
                try SocketResolution.agent.path(
                    socketPath: "", instance: "a",
                    environment: template.map { ["SPIRE_AGENT_PUBLIC_SOCKET_TEMPLATE": $0] } ?? [:])
            }
        }
    }
}

@Suite struct MessageShapeTests {
    @Test func addsZeroValuesAndSortsKeys() throws {
        let inner = MessageShape(["n": .number, "t": .text])
        let shape = MessageShape([
            "text": .text, "big": .bigNumber, "flag": .boolean, "list": .list, "map": .map,
            "one": .message(inner), "many": .messages(inner), "absent": .message(inner),
        ])
        let line = try shape.complete(json: Array(#"{"one":{"n":5},"many":[{}],"big":null}"#.utf8))
        #expect(
            line
                == #"{"flag":false,"list":[],"many":[{"n":0,"t":""}],"map":{},"one":{"n":5,"t":""},"text":""}"#
        )
    }

    @Test func writesWholeNumbersWithoutFraction() throws {
        let line = try MessageShape.empty.complete(
            json: Array(#"{"b":1795265373.0,"a":1.50}"#.utf8))
        #expect(line == #"{"a":1.50,"b":1795265373}"#)
    }

    @Test(arguments: [
        ("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="),
    ])
    func encodesBase64(_ text: String, _ want: String) {
        #expect(Base64Text.encode(Array(text.utf8)) == want)
    }
}

@Suite struct GoTimeTests {
    @Test func printsUTC() {
        #expect(GoTime.utc(1_700_000_000) == "2023-11-14 22:13:20 +0000 UTC")
        #expect(GoTime.utc(-1) == "1969-12-31 23:59:59 +0000 UTC")
    }

    @Test func knowsTheFormOfFilters() {
        #expect(GoTime.isFilterTime("2006-01-02 15:04:05 -0700 -07"))
        #expect(!GoTime.isFilterTime("2006-01-02 15:04:05"))
        #expect(!GoTime.isFilterTime("2006-01-02T15:04:05 -0700 -07"))
    }
}
