import ArgumentParser
import ControlPlaneProto
import GRPCCore
import ServiceRuntime
import SwiftProtobuf

struct BundleListCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "Print the bundles of other trust domains.",
        helpNames: .goHelp)

    @OptionGroup var socket: ServerSocketFlags
    @OptionGroup var output: OutputFlags

    @Option(
        name: .go("id"), parsing: .unconditional, help: "Only the bundle of this trust domain.")
    var id = ""

    @Option(name: .go("format"), parsing: .unconditional, help: "pem or spiffe.")
    var format = BundleTextFormat.pem

    func run() async throws {
        let context = CommandContext.current
        if !self.id.isEmpty {
            let id = self.id
            let bundle = try await ServerConnection.with(self.socket) { server in
                try await server.bundles.getFederatedBundle(
                    .with { $0.trustDomain = id }, options: ServerConnection.options)
            }
            if self.output.format == .json { return try context.printJSON(bundle) }
            return try self.format.print(bundle, context)
        }
        let bundles = try await ServerConnection.with(self.socket) { server in
            var request = Spire_Api_Server_Bundle_V1_ListFederatedBundlesRequest()
            // A page must fit into one message, however large the bundles are.
            request.pageSize = 20
            return try await ServerConnection.allPages { token in
                request.pageToken = token
                let page = try await server.bundles.listFederatedBundles(
                    request, options: ServerConnection.options)
                return (page.bundles, page.nextPageToken)
            }
        }
        if self.output.format == .json {
            return try context.printJSON(
                Spire_Api_Server_Bundle_V1_ListFederatedBundlesResponse.with {
                    $0.bundles = bundles
                })
        }
        let line = String(repeating: "*", count: 40)
        for (index, bundle) in bundles.enumerated() {
            if index > 0 { context.print("") }
            context.print("\(line)\n* \(TerminalText.safe(bundle.trustDomain))\n\(line)")
            try self.format.print(bundle, context)
        }
    }
}

struct BundleSetCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "set", abstract: "Create or replace the bundle of another trust domain.",
        helpNames: .goHelp)

    @OptionGroup var socket: ServerSocketFlags
    @OptionGroup var output: OutputFlags

    @Option(name: .go("id"), parsing: .unconditional, help: "The trust domain.")
    var id = ""

    @Option(
        name: .go("path"), parsing: .unconditional,
        help: "The bundle's file; standard input if absent.")
    var path = ""

    @Option(name: .go("format"), parsing: .unconditional, help: "pem or spiffe.")
    var format = BundleTextFormat.pem

    func run() async throws {
        guard !self.id.isEmpty else {
            throw CommandError(
                "a trust domain is required",
                hints: ["cygnet-server bundle set -id spiffe://example.org -path bundle.pem"])
        }
        let bundle = try BundleInput.read(self.path, format: self.format, of: self.id)
        let response = try await ServerConnection.with(self.socket) { server in
            try await server.bundles.batchSetFederatedBundle(
                .with { $0.bundle = [bundle] }, options: ServerConnection.options)
        }
        let context = CommandContext.current
        if self.output.format == .json { return try context.printJSON(response) }
        guard let status = response.results.first?.status else {
            throw CommandError("the server did not say what became of the bundle")
        }
        guard status.code == 0 else {
            throw CommandError(
                "failed to set federated bundle: \(TerminalText.safe(status.message))")
        }
        context.print("bundle set.")
    }
}

struct BundleDeleteCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "delete", abstract: "Delete the bundle of another trust domain.",
        helpNames: .goHelp)

    /// What becomes of entries that federate with the trust domain.
    enum Mode: String, CaseIterable, ExpressibleByArgument, Sendable {
        case restrict, dissociate, delete
    }

    @OptionGroup var socket: ServerSocketFlags
    @OptionGroup var output: OutputFlags

    @Option(name: .go("id"), parsing: .unconditional, help: "The trust domain.")
    var id = ""

    @Option(
        name: .go("mode"), parsing: .unconditional,
        help:
            "With entries that federate with it: restrict (refuse), dissociate (they federate no more) or delete (them)."
    )
    var mode = Mode.restrict

    func run() async throws {
        guard !self.id.isEmpty else {
            throw CommandError(
                "a trust domain is required",
                hints: ["find it: cygnet-server bundle list"])
        }
        let request = Spire_Api_Server_Bundle_V1_BatchDeleteFederatedBundleRequest.with {
            $0.trustDomains = [self.id]
            $0.mode =
                switch self.mode {
                case .restrict: .restrict
                case .dissociate: .dissociate
                case .delete: .delete
                }
        }
        let response = try await ServerConnection.with(self.socket) { server in
            try await server.bundles.batchDeleteFederatedBundle(
                request, options: ServerConnection.options)
        }
        let context = CommandContext.current
        if self.output.format == .json { return try context.printJSON(response) }
        guard let status = response.results.first?.status else {
            throw CommandError("the server did not say what became of the bundle")
        }
        guard status.code == 0 else {
            throw CommandError(
                "failed to delete federated bundle \(QuotedText.quoted(self.id)): "
                    + TerminalText.safe(status.message))
        }
        context.print("bundle deleted.")
    }
}
