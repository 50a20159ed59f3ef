public import Foundation
public import X509
package struct JWSSigner: Sendable {
    package init(privateKey: Certificate.PrivateKey, keyID: String) throws {}
    package func sign(claims: [UInt8]) throws -> String { "" }
}
package enum Base64URL { package static func encode(_ b: [UInt8]) -> String { "" } }
public struct VerifiedX509SVID: Sendable { public let id: SPIFFEID; public let leaf: Certificate; public let chain: [Certificate] }
public struct X509Bundle: Sendable { public let trustDomain: TrustDomain; public init(trustDomain: TrustDomain, authoritiesDER: [[UInt8]]) throws { self.trustDomain = trustDomain } }
public protocol X509BundleSource: Sendable { func x509Bundle(for trustDomain: TrustDomain) -> X509Bundle? }
public struct X509SVID: Sendable {
    public let id: SPIFFEID
    public init(certificates: [[UInt8]], privateKeyPKCS8DER: [UInt8], hint: String = "") throws { fatalError() }
}
public protocol X509SVIDSource: Sendable { func x509SVID() throws -> X509SVID }
