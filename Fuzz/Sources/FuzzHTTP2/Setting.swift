import HTTP2

/// Limits to run with: the defaults, and some so small that inputs of a few bytes reach them.
struct Setting {
    let limits: HTTP2Limits
    let configuration: HTTP2ServerConnection.Configuration

    private init(_ change: (inout HTTP2Limits) -> Void) {
        var limits = HTTP2Limits()
        change(&limits)
        self.limits = limits
        self.configuration = .init(limits: limits)
    }

    static let all: [Setting] = [
        Setting { _ in },
        Setting {
            $0.maxConcurrentStreams = 3
            $0.maxHeaderListBytes = 300
            $0.connectionWindow = 65_535
            $0.maxPendingBytes = 3_000
            $0.resetAllowance = 2
        },
        Setting {
            $0.maxConcurrentStreams = 5
            $0.streamWindow = 100_000
            $0.connectionWindow = 80_000
            $0.resetAllowance = 20
        },
    ]
}
