import SPIFFE
import WorkloadAPIAddress

/// Names that people and configuration files write.
enum Names {
    /// The bytes as text, if they are; the parsers take strings.
    private static func text(_ bytes: [UInt8]) -> String? {
        String(validating: bytes, as: UTF8.self)
    }

    static func id(_ bytes: [UInt8]) {
        guard let text = self.text(bytes), let id = try? SPIFFEID(text) else { return }
        demand(id.string.utf8.elementsEqual(bytes), "an ID is what was read")
        demand(bytes.count <= 2048)
        demand(bytes.allSatisfy { $0 > 0x20 && $0 < 0x7f && $0 != UInt8(ascii: "%") })
        demand(id.trustDomain.name.utf8.count <= 255)
        demand(id.string == "spiffe://" + id.trustDomain.name + id.path)
        demand((try? SPIFFEID(trustDomain: id.trustDomain, path: id.path)) == id)
    }

    static func trustDomain(_ bytes: [UInt8]) {
        guard let text = self.text(bytes) else { return }
        if let trustDomain = try? TrustDomain(text) {
            demand(trustDomain.name.utf8.elementsEqual(bytes))
            demand((try? SPIFFEID("spiffe://" + text))?.trustDomain == trustDomain)
        }
        if let trustDomain = try? TrustDomain(nameOrID: text) {
            demand((try? TrustDomain(trustDomain.name)) == trustDomain)
        }
    }

    static func selector(_ bytes: [UInt8]) {
        guard let text = self.text(bytes), let selector = try? Selector(text) else { return }
        demand((try? Selector(type: selector.type, value: selector.value)) == selector)
        demand((selector.type + ":" + selector.value).utf8.elementsEqual(bytes))
    }

    static func address(_ bytes: [UInt8]) {
        guard let text = self.text(bytes), let address = try? WorkloadAPIAddress(text) else {
            return
        }
        demand((try? WorkloadAPIAddress(address.description)) == address, "\(address)")
    }
}
