import Foundation
import SPIFFE
import SPIFFEWorkloadAPI

/// A program that does with the SDK what a scenario asks, so that foreign programs can judge it.
///
/// Its identity comes from `SPIFFE_ENDPOINT_SOCKET`. Prints one JSON object a line; the last word on an error is
/// `{"error": …}` and exit code 1.
@main enum SDKPeer {
    private static let usage = """
        usage: sdk-peer listen PORT CLIENT-ID             mTLS echo server
               sdk-peer connect PORT SERVER-ID            mTLS client: sends a line, prints the answer
               sdk-peer grpc-serve PORT CLIENT-ID         interop.Echo/WhoAmI over mTLS
               sdk-peer grpc-call PORT SERVER-ID AUDIENCE the same as a client, with a JWT-SVID
               sdk-peer jwt-fetch AUDIENCE                a token and the JWK Set to check it with
               sdk-peer jwt-check AUDIENCE TOKEN          checks a token with the bundles of the Workload API
               sdk-peer jwks-check DOMAIN FILE AUDIENCE TOKEN   checks a token with a JWK Set
               sdk-peer pem FOLDER                        keeps PEM files fresh
        """

    static func main() async {
        do {
            try await self.run(Array(CommandLine.arguments.dropFirst()))
        } catch {
            self.say(["error": .string("\(error)")])
            exit(1)
        }
    }

    private static func run(_ words: [String]) async throws {
        switch (words.first, words.count) {
        case ("listen", 3):
            try await TLSPeer.listen(port: try self.port(words[1]), try SPIFFEID(words[2]))
        case ("connect", 3):
            try await TLSPeer.connect(port: try self.port(words[1]), try SPIFFEID(words[2]))
        case ("grpc-serve", 3):
            try await GRPCPeer.serve(port: try self.port(words[1]), try SPIFFEID(words[2]))
        case ("grpc-call", 4):
            try await GRPCPeer.call(
                port: try self.port(words[1]), try SPIFFEID(words[2]), audience: words[3])
        case ("jwt-fetch", 2): try await self.fetchToken(words[1])
        case ("jwt-check", 3): try await self.check(words[1], words[2])
        case ("jwks-check", 5):
            let bundle = try JWTBundle(
                trustDomain: try TrustDomain(words[1]),
                jwks: Array(try Data(contentsOf: URL(fileURLWithPath: words[2]))))
            self.show(
                try JWTSVID.validate(words[4], audience: words[3], bundles: bundle),
                [
                    "keys": .int(Int64(bundle.authorities.count)),
                    "jwks": .string(String(decoding: bundle.jwks(), as: UTF8.self)),
                ])
        case ("pem", 2):
            try await withX509Source { source in
                try await PEMFiles(folder: words[1]).keepFresh(from: source) { svid in
                    self.say(["written": svid.map { .string($0.id.string) } ?? .null])
                }
            }
        default: throw Failure(message: self.usage)
        }
    }

    private static func fetchToken(_ audience: String) async throws {
        try await withJWTSource { source in
            let svid = try await source.jwtSVID(audience: [audience])
            let bundle = source.jwtBundle(for: svid.id.trustDomain)
            self.show(
                svid,
                [
                    "token": .string(svid.token),
                    "jwks": .string(String(decoding: bundle?.jwks() ?? [], as: UTF8.self)),
                ])
        }
    }

    private static func check(_ audience: String, _ token: String) async throws {
        try await withJWTSource { source in
            let here = try JWTSVID.validate(token, audience: audience, bundles: source)
            let there = try await source.validate(token, audience: audience)
            self.show(here, ["workload_api": .string(there.id.string)])
        }
    }

    private static func show(_ svid: JWTSVID, _ more: [String: JSONValue]) {
        self.say(["id": .string(svid.id.string)].merging(more) { _, new in new })
    }

    private static func port(_ text: String) throws -> Int {
        guard let port = Int(text), (0...65535).contains(port) else {
            throw Failure(message: "\(text) is no port")
        }
        return port
    }

    /// Prints one line at once.
    static func say(_ members: [String: JSONValue]) {
        FileHandle.standardOutput.write(Data(JSONValue.object(members).serialized() + [0x0A]))
    }
}

/// What went wrong, in words.
struct Failure: Error, CustomStringConvertible {
    let message: String
    var description: String { self.message }
}
