import ControlPlaneProto
import Foundation
import SPIFFE
import ServerCore
import SwiftProtobuf

extension Wire {
    /// - Parameter mask: which fields; nil means all. The ID is always there.
    static func message(
        _ node: AttestedNode, mask: Spire_Api_Types_AgentMask? = nil
    ) -> Spire_Api_Types_Agent {
        .with {
            $0.id = self.message(node.id)
            if mask?.attestationType ?? true { $0.attestationType = node.attestationType }
            if mask?.x509SvidSerialNumber ?? true {
                $0.x509SvidSerialNumber = self.decimal(hex: node.serial)
            }
            if mask?.x509SvidExpiresAt ?? true { $0.x509SvidExpiresAt = node.expiresAt }
            if mask?.selectors ?? true { $0.selectors = node.selectors.map { self.message($0) } }
            if mask?.banned ?? true { $0.banned = node.isBanned }
            if mask?.canReattest ?? true { $0.canReattest = node.canReattest }
            if mask?.agentVersion ?? true { $0.agentVersion = node.agentVersion }
        }
    }

    /// A serial number as SPIRE writes it, in decimal.
    static func decimal(hex: String) -> String {
        var digits: [UInt8] = [0]  // least significant first
        for character in hex {
            guard let value = character.hexDigitValue else { return hex }
            var carry = value
            for index in digits.indices {
                let next = Int(digits[index]) * 16 + carry
                digits[index] = UInt8(next % 10)
                carry = next / 10
            }
            while carry > 0 {
                digits.append(UInt8(carry % 10))
                carry /= 10
            }
        }
        if hex.isEmpty { return "" }
        return String(decoding: digits.reversed().map { $0 + UInt8(ascii: "0") }, as: UTF8.self)
    }

    static func nodeFilter(
        _ filter: Spire_Api_Server_Agent_V1_ListAgentsRequest.Filter
    ) throws(ServerError) -> NodeFilter {
        var result = NodeFilter()
        if !filter.byAttestationType.isEmpty { result.attestationType = filter.byAttestationType }
        if filter.hasBySelectorMatch {
            result.selectors = try self.selectorMatch(filter.bySelectorMatch)
        }
        if filter.hasByBanned { result.isBanned = filter.byBanned.value }
        if filter.hasByCanReattest { result.canReattest = filter.byCanReattest.value }
        // An unparsable time does not filter, as in SPIRE; the command line checks it.
        result.expiresBefore = self.goTime(filter.byExpiresBefore)
        return result
    }

    /// Parses `2006-01-02 15:04:05 -0700 -07`.
    static func goTime(_ text: String) -> Int64? {
        let parts = text.split(separator: " ")
        guard parts.count >= 3 else { return nil }
        let formatter = DateFormatter()
        formatter.locale = Locale(identifier: "en_US_POSIX")
        formatter.dateFormat = "yyyy-MM-dd HH:mm:ss Z"
        return formatter.date(from: parts[0...2].joined(separator: " ")).map {
            Int64($0.timeIntervalSince1970)
        }
    }

    static func message(
        _ bundle: TrustBundle, mask: Spire_Api_Types_BundleMask? = nil
    ) -> Spire_Api_Types_Bundle {
        .with {
            $0.trustDomain = bundle.trustDomain.name
            if mask?.x509Authorities ?? true {
                $0.x509Authorities = bundle.x509Authorities.map { authority in
                    .with {
                        $0.asn1 = Data(authority.der)
                        $0.tainted = authority.tainted
                    }
                }
            }
            if mask?.jwtAuthorities ?? true {
                $0.jwtAuthorities = bundle.jwtAuthorities.map { authority in
                    .with {
                        $0.publicKey = Data(authority.publicKeyDER)
                        $0.keyID = authority.keyID
                        $0.expiresAt = authority.expiresAt
                        $0.tainted = authority.tainted
                    }
                }
            }
            if mask?.witAuthorities ?? true {
                $0.witAuthorities = bundle.witAuthorities.map { authority in
                    .with {
                        $0.publicKey = Data(authority.publicKeyDER)
                        $0.keyID = authority.keyID
                        $0.expiresAt = authority.expiresAt
                        $0.tainted = authority.tainted
                    }
                }
            }
            if mask?.refreshHint ?? true { $0.refreshHint = bundle.refreshHint }
            if mask?.sequenceNumber ?? true { $0.sequenceNumber = bundle.publishedSequence }
        }
    }
}
