import ControlPlaneProto
import Foundation
import SPIFFE
import ServerCore
import SwiftProtobuf

/// From and to wire messages; what cannot be parsed becomes `invalidArgument` with the field's name.
enum Wire {
    static func id(
        _ message: Spire_Api_Types_SPIFFEID, field: String, isSet: Bool = true
    ) throws(ServerError) -> SPIFFEID {
        guard isSet, !message.trustDomain.isEmpty || !message.path.isEmpty else {
            throw ServerError(.invalidArgument, "\(field) is missing")
        }
        do {
            return try SPIFFEID(
                trustDomain: try TrustDomain(message.trustDomain), path: message.path)
        } catch {
            throw ServerError(.invalidArgument, "invalid \(field): \(error)")
        }
    }

    static func message(_ id: SPIFFEID) -> Spire_Api_Types_SPIFFEID {
        .with {
            $0.trustDomain = id.trustDomain.name
            $0.path = id.path
        }
    }

    static func selectors(
        _ messages: [Spire_Api_Types_Selector]
    ) throws(ServerError) -> [Selector] {
        var result: [Selector] = []
        result.reserveCapacity(messages.count)
        for message in messages {
            do { result.append(try Selector(type: message.type, value: message.value)) } catch {
                throw ServerError(.invalidArgument, "invalid selector: \(error)")
            }
        }
        return result
    }

    static func message(_ selector: Selector) -> Spire_Api_Types_Selector {
        .with {
            $0.type = selector.type
            $0.value = selector.value
        }
    }

    static func trustDomains(_ names: [String]) throws(ServerError) -> [TrustDomain] {
        var result: [TrustDomain] = []
        for name in names {
            do { result.append(try TrustDomain(nameOrID: name)) } catch {
                throw ServerError(.invalidArgument, "invalid trust domain: \(error)")
            }
        }
        return result
    }

    static func selectorMatch(
        _ message: Spire_Api_Types_SelectorMatch
    ) throws(ServerError) -> (set: Set<Selector>, match: SetMatch) {
        let set = Set(try self.selectors(message.selectors))
        guard !set.isEmpty else {
            throw ServerError(.invalidArgument, "filter by selectors is empty; give at least one")
        }
        switch message.match {
        case .matchExact: return (set, .exact)
        case .matchSubset: return (set, .subset)
        case .matchSuperset: return (set, .superset)
        case .matchAny: return (set, .any)
        case .UNRECOGNIZED(let value):
            throw ServerError(.invalidArgument, "unknown match behavior \(value)")
        }
    }

    static func federatesWithMatch(
        _ message: Spire_Api_Types_FederatesWithMatch
    ) throws(ServerError) -> (set: Set<TrustDomain>, match: SetMatch) {
        let set = Set(try self.trustDomains(message.trustDomains))
        guard !set.isEmpty else {
            throw ServerError(
                .invalidArgument, "filter by trust domains is empty; give at least one")
        }
        switch message.match {
        case .matchExact: return (set, .exact)
        case .matchSubset: return (set, .subset)
        case .matchSuperset: return (set, .superset)
        case .matchAny: return (set, .any)
        case .UNRECOGNIZED(let value):
            throw ServerError(.invalidArgument, "unknown match behavior \(value)")
        }
    }

    /// A page's start from its token; tokens are decimal numbers, opaque to callers.
    static func pageStart(_ token: String) throws(ServerError) -> Int {
        if token.isEmpty { return 0 }
        guard let start = Int(token), start >= 0 else {
            throw ServerError(
                .invalidArgument, "page token \(quoted(token)) is not one that this server gave out"
            )
        }
        return start
    }

    static func message(_ svid: IssuedX509SVID) -> Spire_Api_Types_X509SVID {
        .with {
            $0.certChain = svid.chain.map { Data($0) }
            $0.id = self.message(svid.spiffeID)
            $0.expiresAt = svid.expiresAt
        }
    }

    static func message(_ svid: IssuedJWTSVID, hint: String = "") -> Spire_Api_Types_JWTSVID {
        .with {
            $0.token = svid.token
            $0.id = self.message(svid.spiffeID)
            $0.expiresAt = svid.expiresAt
            $0.issuedAt = svid.issuedAt
            $0.hint = hint
        }
    }

    static func message(_ svid: IssuedWITSVID) -> Spire_Api_Types_WITSVID {
        .with {
            $0.token = svid.token
            $0.id = self.message(svid.spiffeID)
            $0.expiresAt = svid.expiresAt
            $0.issuedAt = svid.issuedAt
        }
    }
}
