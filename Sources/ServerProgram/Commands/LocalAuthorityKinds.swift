import ControlPlaneProto
import GRPCCore
import SwiftProtobuf

/// What a call of the `LocalAuthority` service answered.
struct LocalAuthorityAnswer<State: Sendable>: Sendable {
    let message: any ShapedMessage
    /// What it tells of.
    let state: State
}

/// A kind of authority, with its calls: the service has five methods for each kind.
protocol LocalAuthorityKind: SendableMetatype {
    typealias One = LocalAuthorityAnswer<AuthorityBlock.State>
    typealias All = LocalAuthorityAnswer<[(word: String, state: AuthorityBlock.State?)]>

    static var kind: AuthorityBlock.Kind { get }
    /// As the command is called.
    static var commandName: String { get }
    /// As people say it, such as `X.509 authority`.
    static var noun: String { get }
    /// What these authorities sign.
    static var signed: String { get }

    static func show(_ server: ServerConnection) async throws -> All
    static func prepare(_ server: ServerConnection) async throws -> One
    static func activate(_ id: String, _ server: ServerConnection) async throws -> One
    static func taint(_ id: String, _ server: ServerConnection) async throws -> One
    static func revoke(_ id: String, _ server: ServerConnection) async throws -> One
}

enum LocalX509Authorities: LocalAuthorityKind {
    static let kind = AuthorityBlock.Kind.x509
    static let commandName = "x509"
    static let noun = "X.509 authority"
    static let signed = "X509-SVIDs"

    static func show(_ server: ServerConnection) async throws -> All {
        let answer = try await server.localAuthority.getX509AuthorityState(
            .init(), options: ServerConnection.options)
        return All(
            message: answer,
            state: [
                ("Active", answer.hasActive ? answer.active : nil),
                ("Prepared", answer.hasPrepared ? answer.prepared : nil),
                ("Old", answer.hasOld ? answer.old : nil),
            ])
    }

    static func prepare(_ server: ServerConnection) async throws -> One {
        let answer = try await server.localAuthority.prepareX509Authority(
            .init(), options: ServerConnection.options)
        return One(message: answer, state: answer.preparedAuthority)
    }

    static func activate(_ id: String, _ server: ServerConnection) async throws -> One {
        let answer = try await server.localAuthority.activateX509Authority(
            .with { $0.authorityID = id }, options: ServerConnection.options)
        return One(message: answer, state: answer.activatedAuthority)
    }

    static func taint(_ id: String, _ server: ServerConnection) async throws -> One {
        let answer = try await server.localAuthority.taintX509Authority(
            .with { $0.authorityID = id }, options: ServerConnection.options)
        return One(message: answer, state: answer.taintedAuthority)
    }

    static func revoke(_ id: String, _ server: ServerConnection) async throws -> One {
        let answer = try await server.localAuthority.revokeX509Authority(
            .with { $0.authorityID = id }, options: ServerConnection.options)
        return One(message: answer, state: answer.revokedAuthority)
    }
}

enum LocalJWTAuthorities: LocalAuthorityKind {
    static let kind = AuthorityBlock.Kind.jwt
    static let commandName = "jwt"
    static let noun = "JWT authority"
    static let signed = "JWT-SVIDs"

    static func show(_ server: ServerConnection) async throws -> All {
        let answer = try await server.localAuthority.getJWTAuthorityState(
            .init(), options: ServerConnection.options)
        return All(
            message: answer,
            state: [
                ("Active", answer.hasActive ? answer.active : nil),
                ("Prepared", answer.hasPrepared ? answer.prepared : nil),
                ("Old", answer.hasOld ? answer.old : nil),
            ])
    }

    static func prepare(_ server: ServerConnection) async throws -> One {
        let answer = try await server.localAuthority.prepareJWTAuthority(
            .init(), options: ServerConnection.options)
        return One(message: answer, state: answer.preparedAuthority)
    }

    static func activate(_ id: String, _ server: ServerConnection) async throws -> One {
        let answer = try await server.localAuthority.activateJWTAuthority(
            .with { $0.authorityID = id }, options: ServerConnection.options)
        return One(message: answer, state: answer.activatedAuthority)
    }

    static func taint(_ id: String, _ server: ServerConnection) async throws -> One {
        let answer = try await server.localAuthority.taintJWTAuthority(
            .with { $0.authorityID = id }, options: ServerConnection.options)
        return One(message: answer, state: answer.taintedAuthority)
    }

    static func revoke(_ id: String, _ server: ServerConnection) async throws -> One {
        let answer = try await server.localAuthority.revokeJWTAuthority(
            .with { $0.authorityID = id }, options: ServerConnection.options)
        return One(message: answer, state: answer.revokedAuthority)
    }
}

enum LocalWITAuthorities: LocalAuthorityKind {
    static let kind = AuthorityBlock.Kind.wit
    static let commandName = "wit"
    static let noun = "WIT authority"
    static let signed = "WIT-SVIDs"

    static func show(_ server: ServerConnection) async throws -> All {
        let answer = try await server.localAuthority.getWITAuthorityState(
            .init(), options: ServerConnection.options)
        return All(
            message: answer,
            state: [
                ("Active", answer.hasActive ? answer.active : nil),
                ("Prepared", answer.hasPrepared ? answer.prepared : nil),
                ("Old", answer.hasOld ? answer.old : nil),
            ])
    }

    static func prepare(_ server: ServerConnection) async throws -> One {
        let answer = try await server.localAuthority.prepareWITAuthority(
            .init(), options: ServerConnection.options)
        return One(message: answer, state: answer.preparedAuthority)
    }

    static func activate(_ id: String, _ server: ServerConnection) async throws -> One {
        let answer = try await server.localAuthority.activateWITAuthority(
            .with { $0.authorityID = id }, options: ServerConnection.options)
        return One(message: answer, state: answer.activatedAuthority)
    }

    static func taint(_ id: String, _ server: ServerConnection) async throws -> One {
        let answer = try await server.localAuthority.taintWITAuthority(
            .with { $0.authorityID = id }, options: ServerConnection.options)
        return One(message: answer, state: answer.taintedAuthority)
    }

    static func revoke(_ id: String, _ server: ServerConnection) async throws -> One {
        let answer = try await server.localAuthority.revokeWITAuthority(
            .with { $0.authorityID = id }, options: ServerConnection.options)
        return One(message: answer, state: answer.revokedAuthority)
    }
}
