import ControlPlaneProto
import ServiceRuntime

private enum Shapes {
    static let authority = MessageShape([
        "authority_id": .text, "expires_at": .bigNumber,
        "upstream_authority_subject_key_id": .text,
    ])
    static let authorities = MessageShape([
        "active": .message(authority), "prepared": .message(authority), "old": .message(authority),
    ])
    static let prepared = MessageShape(["prepared_authority": .message(authority)])
    static let activated = MessageShape(["activated_authority": .message(authority)])
    static let tainted = MessageShape(["tainted_authority": .message(authority)])
    static let revoked = MessageShape(["revoked_authority": .message(authority)])
    static let upstream = MessageShape(["upstream_authority_subject_key_id": .text])
}

extension Spire_Api_Server_Localauthority_V1_GetX509AuthorityStateResponse: ShapedMessage {
    static let shape = Shapes.authorities
}

extension Spire_Api_Server_Localauthority_V1_PrepareX509AuthorityResponse: ShapedMessage {
    static let shape = Shapes.prepared
}

extension Spire_Api_Server_Localauthority_V1_ActivateX509AuthorityResponse: ShapedMessage {
    static let shape = Shapes.activated
}

extension Spire_Api_Server_Localauthority_V1_TaintX509AuthorityResponse: ShapedMessage {
    static let shape = Shapes.tainted
}

extension Spire_Api_Server_Localauthority_V1_RevokeX509AuthorityResponse: ShapedMessage {
    static let shape = Shapes.revoked
}

extension Spire_Api_Server_Localauthority_V1_GetJWTAuthorityStateResponse: ShapedMessage {
    static let shape = Shapes.authorities
}

extension Spire_Api_Server_Localauthority_V1_PrepareJWTAuthorityResponse: ShapedMessage {
    static let shape = Shapes.prepared
}

extension Spire_Api_Server_Localauthority_V1_ActivateJWTAuthorityResponse: ShapedMessage {
    static let shape = Shapes.activated
}

extension Spire_Api_Server_Localauthority_V1_TaintJWTAuthorityResponse: ShapedMessage {
    static let shape = Shapes.tainted
}

extension Spire_Api_Server_Localauthority_V1_RevokeJWTAuthorityResponse: ShapedMessage {
    static let shape = Shapes.revoked
}

extension Spire_Api_Server_Localauthority_V1_GetWITAuthorityStateResponse: ShapedMessage {
    static let shape = Shapes.authorities
}

extension Spire_Api_Server_Localauthority_V1_PrepareWITAuthorityResponse: ShapedMessage {
    static let shape = Shapes.prepared
}

extension Spire_Api_Server_Localauthority_V1_ActivateWITAuthorityResponse: ShapedMessage {
    static let shape = Shapes.activated
}

extension Spire_Api_Server_Localauthority_V1_TaintWITAuthorityResponse: ShapedMessage {
    static let shape = Shapes.tainted
}

extension Spire_Api_Server_Localauthority_V1_RevokeWITAuthorityResponse: ShapedMessage {
    static let shape = Shapes.revoked
}

extension Spire_Api_Server_Localauthority_V1_TaintX509UpstreamAuthorityResponse: ShapedMessage {
    static let shape = Shapes.upstream
}

extension Spire_Api_Server_Localauthority_V1_RevokeX509UpstreamAuthorityResponse: ShapedMessage {
    static let shape = Shapes.upstream
}
