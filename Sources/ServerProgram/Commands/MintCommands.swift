import ArgumentParser
import ControlPlaneProto
import Crypto
import GRPCCore
import SPIFFE
import ServiceRuntime
import SwiftASN1
import SwiftProtobuf
import X509

struct X509Command: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "x509", abstract: "X509-SVIDs.", subcommands: [X509MintCommand.self],
        helpNames: .goHelp)
}

struct JWTCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "jwt", abstract: "JWT-SVIDs.", subcommands: [JWTMintCommand.self],
        helpNames: .goHelp)
}

struct X509MintCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "mint", abstract: "Mint an X509-SVID with a new key.", helpNames: .goHelp)

    @OptionGroup var socket: ServerSocketFlags
    @OptionGroup var output: OutputFlags

    @Option(name: .go("spiffeID"), parsing: .unconditional, help: "SPIFFE ID of the X509-SVID.")
    var spiffeID = ""

    @Option(
        name: .go("dns"), parsing: .unconditionalSingleValue, help: "A DNS name; may be repeated.")
    var dnsNames: [String] = []

    @Option(
        name: .go("ttl"), parsing: .unconditional, help: "Life of the X509-SVID, such as 1h30m.")
    var ttl = DurationArgument(.zero)

    @Option(
        name: .go("write"), parsing: .unconditional, help: "Directory for files instead of output.")
    var write = ""

    func run() async throws {
        if self.spiffeID.isEmpty { throw CommandError("spiffeID must be specified") }
        let id: SPIFFEID
        do {
            id = try SPIFFEID(self.spiffeID)
        } catch {
            throw CommandError("cannot use -spiffeID: \(error.message)")
        }
        let key = P256.Signing.PrivateKey()
        let csr = try X509MintCommand.request(id, dnsNames: self.dnsNames, key: key)
        let started = GoTime.now
        var request = Spire_Api_Server_Svid_V1_MintX509SVIDRequest()
        request.csr = .init(csr)
        request.ttl = self.ttl.wholeSeconds
        let (svid, roots) = try await ServerConnection.with(self.socket) { [request] server in
            let minted = try await server.svids.mintX509SVID(
                request, options: ServerConnection.options)
            let bundle = try await server.bundles.getBundle(
                Spire_Api_Server_Bundle_V1_GetBundleRequest.with {
                    $0.outputMask.x509Authorities = true
                },
                options: ServerConnection.options)
            return (minted.svid, bundle.x509Authorities.map { Array($0.asn1) })
        }
        guard !svid.certChain.isEmpty else {
            throw CommandError("server response missing SVID chain")
        }
        guard !roots.isEmpty else {
            throw CommandError("server response missing X.509 authorities")
        }
        let context = CommandContext.current
        if request.ttl > 0, svid.expiresAt < started + Int64(request.ttl) {
            context.printError(
                "X509-SVID lifetime was capped shorter than specified ttl; expires "
                    + QuotedText.quoted(GoTime.utc(svid.expiresAt)))
        }
        let chain = svid.certChain.map { Array($0) }
        let keyDER = Array(key.derRepresentation)
        if self.output.format == .json {
            context.print(X509MintCommand.json(chain: chain, key: keyDER, roots: roots))
        } else {
            try self.deliver(
                chain: chain.map(PEMText.certificate), key: PEMText.privateKey(keyDER),
                roots: roots.map(PEMText.certificate), context)
        }
    }

    private func deliver(
        chain: [String], key: String, roots: [String], _ context: CommandContext
    ) throws(FileError) {
        let svid = chain.joined(separator: "\n") + "\n"
        let bundle = roots.joined(separator: "\n") + "\n"
        if self.write.isEmpty {
            context.output("X509-SVID:\n\(svid)\nPrivate key:\n\(key)\n\nRoot CAs:\n\(bundle)\n")
            return
        }
        for (name, what, text, mode) in [
            ("svid.pem", "X509-SVID", svid, 0o644), ("key.pem", "Private key", key + "\n", 0o600),
            ("bundle.pem", "Root CAs", bundle, 0o644),
        ] as [(String, String, String, UInt32)] {
            let path = self.write + "/" + name
            try AtomicFile.write(text.utf8, to: path, mode: mode)
            context.print("\(what) written to \(path)")
        }
    }

    /// A certificate request with the SPIFFE ID as its URI and an empty subject.
    static func request(
        _ id: SPIFFEID, dnsNames: [String], key: P256.Signing.PrivateKey
    ) throws -> [UInt8] {
        let names: [GeneralName] =
            [.uniformResourceIdentifier(id.string)] + dnsNames.map { .dnsName($0) }
        let extensions = try Certificate.Extensions { SubjectAlternativeNames(names) }
        let request = try CertificateSigningRequest(
            version: .v1, subject: DistinguishedName(),
            privateKey: Certificate.PrivateKey(key),
            attributes: .init([.init(ExtensionRequest(extensions: extensions))]))
        var serializer = DER.Serializer()
        try serializer.serialize(request)
        return serializer.serializedBytes
    }

    /// `{"private_key":…,"root_cas":[…],"x509_svid":[…]}` with DER in base64.
    static func json(chain: [[UInt8]], key: [UInt8], roots: [[UInt8]]) -> String {
        func list(_ elements: [[UInt8]]) -> String {
            "[" + elements.map { "\"" + Base64Text.encode($0) + "\"" }.joined(separator: ",") + "]"
        }
        return "{\"private_key\":\"\(Base64Text.encode(key))\",\"root_cas\":\(list(roots)),"
            + "\"x509_svid\":\(list(chain))}"
    }
}

struct JWTMintCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "mint", abstract: "Mint a JWT-SVID.", helpNames: .goHelp)

    @OptionGroup var socket: ServerSocketFlags
    @OptionGroup var output: OutputFlags

    @Option(name: .go("spiffeID"), parsing: .unconditional, help: "SPIFFE ID of the JWT-SVID.")
    var spiffeID = ""

    @Option(
        name: .go("audience"), parsing: .unconditionalSingleValue,
        help: "An audience; may be repeated.")
    var audience: [String] = []

    @Option(name: .go("ttl"), parsing: .unconditional, help: "Life of the JWT-SVID, such as 5m.")
    var ttl = DurationArgument(.zero)

    @Option(name: .go("write"), parsing: .unconditional, help: "File instead of output.")
    var write = ""

    func run() async throws {
        if self.spiffeID.isEmpty { throw CommandError("spiffeID must be specified") }
        if self.audience.isEmpty { throw CommandError("at least one audience must be specified") }
        var request = Spire_Api_Server_Svid_V1_MintJWTSVIDRequest()
        request.id = try .parse(self.spiffeID, flag: "spiffeID")
        request.audience = self.audience
        request.ttl = self.ttl.wholeSeconds
        let response = try await ServerConnection.with(self.socket) { [request] server in
            try await server.svids.mintJWTSVID(request, options: ServerConnection.options)
        }
        let context = CommandContext.current
        let svid = response.svid
        if request.ttl > 0, svid.expiresAt - svid.issuedAt < Int64(request.ttl) {
            context.printError(
                "JWT-SVID lifetime was capped shorter than specified ttl; expires "
                    + QuotedText.quoted(GoTime.utc(svid.expiresAt)))
        }
        if self.output.format == .json { return try context.printJSON(response) }
        if self.write.isEmpty { return context.print(TerminalText.safe(svid.token)) }
        try AtomicFile.write(svid.token.utf8, to: self.write, mode: 0o600)
        context.print("JWT-SVID written to \(self.write)")
    }
}
