import SPIFFE

/// JSON and what is written in it.
enum Documents {
    private static let trustDomain = try? TrustDomain("acme.test")

    static func json(_ bytes: [UInt8]) {
        guard let value = try? JSONValue(parsing: bytes) else { return }
        let written = value.serialized()
        guard let again = try? JSONValue(parsing: written) else {
            return demand(false, "what is written can be read")
        }
        demand(again.serialized() == written, "and means the same")
    }

    static func base64(_ bytes: [UInt8]) {
        let text = String(decoding: bytes, as: UTF8.self)
        if let decoded = try? Base64URL.decode(text) {
            demand(Base64URL.encode(decoded).utf8.elementsEqual(text.utf8), "one spelling only")
        }
        if let decoded = try? Base64.decode(text) {
            demand(Base64.encode(decoded).utf8.elementsEqual(text.utf8), "one spelling only")
        }
        demand((try? Base64URL.decode(Base64URL.encode(bytes))) == bytes)
        demand((try? Base64.decode(Base64.encode(bytes))) == bytes)
    }

    static func bundle(_ bytes: [UInt8]) {
        guard let trustDomain = self.trustDomain,
            let bundle = try? SPIFFEBundle(trustDomain: trustDomain, json: bytes)
        else { return }
        let written = bundle.json()
        var ignored = 0
        let again = try? SPIFFEBundle(trustDomain: trustDomain, json: written) { _ in ignored += 1 }
        demand(again == bundle && ignored == 0, "a published bundle reads back whole")
        demand(bundle.refreshInterval() >= .seconds(60))
    }

    static func jwks(_ bytes: [UInt8]) {
        guard let trustDomain = self.trustDomain,
            let bundle = try? JWTBundle(trustDomain: trustDomain, jwks: bytes)
        else { return }
        demand(bundle.authorities.keys.allSatisfy { !$0.isEmpty })
    }

    static func bundleMap(_ bytes: [UInt8]) {
        guard let map = try? SPIFFEBundleMap(json: bytes) else { return }
        demand(map.bundles.allSatisfy { $0.key == $0.value.trustDomain })
    }
}
