import Foundation
import NIOCore
import NIOEmbedded
import NIOHTTP1
import SPIFFE
import SPIFFEHTTP
import SPIFFETesting
import Testing

@Suite("The handler of WIT-SVIDs in a pipeline") struct WITHandlerPipelineTests {
    private let source: TestWITSource
    private let authenticator: WITSVIDAuthenticator

    init() throws {
        let acme = try TestAuthority("acme.test")
        self.source = try TestWITSource(acme, "/web")
        self.authenticator = WITSVIDAuthenticator(
            try WorkloadProofVerifier(audience: try ProofAudience(names: ["orders"])),
            bundles: self.source, authorizer: .member(of: acme.trustDomain))
    }

    private func head(
        _ scheme: WorkloadProofScheme, body: [UInt8] = [], expect: Bool = false
    ) throws -> HTTPRequestHead {
        let request = try ProofRequest(
            method: "POST", requestTarget: "/", fields: [],
            bodySHA256: body.isEmpty ? nil : ProofRequest.sha256(of: body), channel: .tls)
        let fields = try WorkloadProofSigner(scheme: scheme).fields(
            for: request, audience: "orders", svid: try self.source.witSVID())
        var headers = HTTPHeaders(fields.map { ($0.name, $0.value) })
        if expect { headers.add(name: "expect", value: "100-Continue") }
        return HTTPRequestHead(version: .http1_1, method: .POST, uri: "/", headers: headers)
    }

    private func channel(isSecuredOtherwise: Bool = true) -> EmbeddedChannel {
        EmbeddedChannel(
            handler: WITSVIDServerHandler(
                self.authenticator, isSecuredOtherwise: isSecuredOtherwise, maximumBodyBytes: 10))
    }

    /// The status of the next answer; nil when there is none.
    private func status(_ channel: EmbeddedChannel) throws -> HTTPResponseStatus? {
        guard case .head(let head) = try channel.readOutbound(as: HTTPServerResponsePart.self)
        else { return nil }
        return head.status
    }

    @Test(
        "WIT-31: without TLS nothing is let in, unless somebody says what else protects it",
        arguments: WorkloadProofScheme.allCases)
    func plaintext(_ scheme: WorkloadProofScheme) throws {
        let plain = self.channel(isSecuredOtherwise: false)
        try plain.writeInbound(HTTPServerRequestPart.head(try self.head(scheme)))
        try plain.writeInbound(HTTPServerRequestPart.end(nil))
        #expect(try plain.readInbound(as: HTTPServerRequestPart.self) == nil)
        #expect(try self.status(plain) == .badRequest)
        #expect(self.authenticator.rememberedProofs == 0)

        let secured = self.channel()
        try secured.writeInbound(HTTPServerRequestPart.head(try self.head(scheme)))
        try secured.writeInbound(HTTPServerRequestPart.end(nil))
        guard case .head = try secured.readInbound(as: HTTPServerRequestPart.self),
            case .end = try secured.readInbound(as: HTTPServerRequestPart.self)
        else {
            Issue.record("the request was not handed on")
            return
        }
        #expect(try self.status(secured) == nil)
    }

    @Test("A body under a signature is asked for, collected, checked, and handed on in order")
    func collected() throws {
        let channel = self.channel()
        let body: [UInt8] = [1, 2, 3, 4]
        let head = try self.head(.httpSignature, body: body, expect: true)
        try channel.writeInbound(HTTPServerRequestPart.head(head))
        #expect(try self.status(channel) == .continue)
        for half in [body[..<2], body[2...]] {
            try channel.writeInbound(HTTPServerRequestPart.body(ByteBuffer(bytes: half)))
            #expect(try channel.readInbound(as: HTTPServerRequestPart.self) == nil)
        }
        try channel.writeInbound(HTTPServerRequestPart.end(nil))
        guard case .head(let seen) = try channel.readInbound(as: HTTPServerRequestPart.self),
            case .body(let bytes) = try channel.readInbound(as: HTTPServerRequestPart.self),
            case .end = try channel.readInbound(as: HTTPServerRequestPart.self)
        else {
            Issue.record("the request was not handed on whole")
            return
        }
        #expect(Array(bytes.readableBytesView) == body)
        #expect(!seen.headers.contains(name: "expect"))
        #expect(try channel.readInbound(as: HTTPServerRequestPart.self) == nil)
    }

    @Test("A proof token says nothing of the body, which is handed on as it comes")
    func streamed() throws {
        let channel = self.channel()
        try channel.writeInbound(HTTPServerRequestPart.head(try self.head(.proofToken)))
        guard case .head = try channel.readInbound(as: HTTPServerRequestPart.self) else {
            Issue.record("the head was not handed on at once")
            return
        }
        for _ in 0..<5 {
            let part = HTTPServerRequestPart.body(ByteBuffer(repeating: 1, count: 10))
            try channel.writeInbound(part)
            #expect(try channel.readInbound(as: HTTPServerRequestPart.self) == part)
        }
    }

    @Test("A body that goes on after the refusal ends the connection")
    func endless() throws {
        let channel = self.channel()
        try channel.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: 1)).wait()
        #expect(channel.isActive)
        try channel.writeInbound(
            HTTPServerRequestPart.head(try self.head(.httpSignature, body: [1])))
        for _ in 0..<20 {
            // Once it is closed the channel itself refuses.
            _ = try? channel.writeInbound(
                HTTPServerRequestPart.body(ByteBuffer(repeating: 1, count: 8192)))
        }
        #expect(try self.status(channel) == .payloadTooLarge)
        #expect(try channel.readInbound(as: HTTPServerRequestPart.self) == nil)
        #expect(!channel.isActive)
        #expect(self.authenticator.rememberedProofs == 0)
    }
}
