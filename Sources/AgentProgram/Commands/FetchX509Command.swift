import ArgumentParser
import GRPCCore
import ServiceRuntime
import WorkloadAPIProto

struct FetchX509Command: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "x509", abstract: "Fetch X509-SVIDs and bundles once.", helpNames: .goHelp)

    @OptionGroup var socket: AgentSocketFlags
    @OptionGroup var timeout: TimeoutFlag

    @Flag(name: .go("silent"), help: "Print nothing.")
    var silent = false

    @Option(name: .go("write"), parsing: .unconditional, help: "Directory to write files to.")
    var write = ""

    @Option(name: .go("output"), parsing: .unconditional, help: "pretty or json.")
    var output = OutputFormat.pretty

    func run() async throws {
        let clock = ContinuousClock()
        let start = clock.now
        let options = WorkloadConnection.options(timeout: self.timeout.timeout.duration)
        let response = try await WorkloadConnection.with(self.socket) { agent in
            try await agent.workload.fetchX509SVID(
                X509SVIDRequest(), metadata: WorkloadConnection.metadata, options: options
            ) { response in
                for try await message in response.messages { return message }
                throw RPCError(code: .unavailable, message: "the stream ended without a message")
            }
        }
        let elapsed = clock.now - start
        let identities = try ReceivedIdentity.all(in: response)
        for identity in identities { try await identity.verify() }
        let context = CommandContext.current
        if !self.silent {
            switch self.output {
            case .json: context.print(try response.jsonLine())
            case .pretty: FetchX509Command.print(identities, after: elapsed, context)
            }
        }
        if !self.write.isEmpty {
            let quiet = CommandContext(environment: [:], output: { _ in }, errorOutput: { _ in })
            let progress = self.silent || self.output == .json ? quiet : context
            for (number, identity) in identities.enumerated() {
                try identity.write(number: number, to: self.write, progress)
            }
        }
    }

    /// Prints what was received, as `fetch` and `watch` do.
    static func print(
        _ identities: [ReceivedIdentity], after elapsed: Duration, _ context: CommandContext
    ) {
        let count = TerminalText.counted(identities.count, "svid", "svids")
        context.print("Received \(count) after \(GoDuration.format(elapsed))\n")
        for identity in identities { context.print(identity.text) }
    }
}

struct WatchCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "watch", abstract: "Print every update of the X509-SVIDs until interrupted.",
        helpNames: .goHelp)

    @OptionGroup var socket: AgentSocketFlags

    func run() async throws {
        var wait = Duration.seconds(1)
        while !Task.isCancelled {
            do {
                try await self.watchOnce()
                wait = .seconds(1)
            } catch let error as CommandError {
                // The agent may be restarting, or an entry may come: keep trying, as SDKs do.
                CommandContext.current.printError("Error: " + error.message)
                try await Task.sleep(for: wait)
                wait = min(wait * 2, .seconds(30))
            }
        }
    }

    private func watchOnce() async throws {
        let context = CommandContext.current
        try await WorkloadConnection.with(self.socket) { agent in
            try await agent.workload.fetchX509SVID(
                X509SVIDRequest(), metadata: WorkloadConnection.metadata,
                options: WorkloadConnection.options(timeout: nil)
            ) { response in
                let clock = ContinuousClock()
                var last = clock.now
                for try await message in response.messages {
                    let identities = try ReceivedIdentity.all(in: message)
                    FetchX509Command.print(identities, after: clock.now - last, context)
                    last = clock.now
                }
            }
        }
    }
}
