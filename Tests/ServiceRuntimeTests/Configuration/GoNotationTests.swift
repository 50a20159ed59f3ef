import Testing

@testable import ServiceRuntime

@Suite struct GoDurationTests {
    @Test(arguments: [
        ("0", Duration.zero), ("10s", .seconds(10)), ("1h30m", .seconds(5400)),
        ("1.5h", .seconds(5400)),
        ("250ms", .milliseconds(250)), ("1us", .microseconds(1)), ("1µs", .microseconds(1)),
        ("3ns", .nanoseconds(3)), ("-5m", .seconds(-300)), ("+1s", .seconds(1)),
        (".5s", .milliseconds(500)),
        ("1.s", .seconds(1)), ("720h", .seconds(720 * 3600)),
    ])
    func parses(_ text: String, _ want: Duration) {
        #expect(GoDuration.parse(text) == want)
    }

    @Test(arguments: [
        "", "10", "s", "1d", "1 s", "1h 30m", "--1s", ".s", "1..5s", "1s-", "1S", "９s",
        "9999999999999999999s", "2562048h", "1e3s",
    ])
    func refuses(_ text: String) {
        #expect(GoDuration.parse(text) == nil)
    }

    @Test(arguments: [
        (Duration.zero, "0s"), (.seconds(10), "10s"), (.seconds(5400), "1h30m0s"),
        (.seconds(60), "1m0s"),
        (.milliseconds(1500), "1.5s"), (.milliseconds(250), "250ms"), (.microseconds(1), "1µs"),
        (.nanoseconds(1500), "1.5µs"), (.nanoseconds(7), "7ns"), (.seconds(-5), "-5s"),
        (.seconds(720 * 3600), "720h0m0s"),
    ])
    func formats(_ duration: Duration, _ want: String) {
        #expect(GoDuration.format(duration) == want)
    }
}

@Suite struct EnvironmentExpansionTests {
    @Test(arguments: [
        ("a=$A;b=${B}", "a=1;b=two"), ("$$A", "$A"), ("${UNSET}x$UNSET", "x"), ("$A_B", ""),
        ("cost $ 5", "cost $ 5"), ("end$", "end$"), ("$1x", "x"), ("${A", "A"), ("${}x", "x"),
        ("${$}", "$"),
    ])
    func expands(_ text: String, _ want: String) throws {
        let result = try EnvironmentExpansion.expand(
            Array(text.utf8), environment: ["A": "1", "B": "two"])
        #expect(String(decoding: result, as: UTF8.self) == want)
    }

    @Test func boundsTheResult() {
        let text = String(repeating: "$A", count: 1000)
        let value = String(repeating: "x", count: 100_000)
        let error = #expect(throws: ConfigurationError.self) {
            try EnvironmentExpansion.expand(Array(text.utf8), environment: ["A": value])
        }
        #expect(error?.code == .tooLarge)
    }
}
