import ControlPlaneProto
import ServiceRuntime

private enum Shapes {
    static let revocation = MessageShape([
        "id": .text,
        "target": .message(
            // One of these, which is printed when it is there.
            MessageShape([
                "selector": .message(MessageShape(["type": .text, "value": .text]))
            ])),
        "and_children": .boolean, "suspension": .boolean, "replace": .boolean, "reason": .text,
        "caller": .text, "created_at": .bigNumber, "expires_at": .bigNumber,
    ])
    static let hits = MessageShape([
        "x509_svids": .bigNumber, "jwt_svids": .bigNumber, "wit_svids": .bigNumber,
        "entries": .bigNumber, "agents": .bigNumber, "spiffe_ids": .list,
        "spiffe_id_count": .bigNumber,
    ])
}

extension Cygnet_Revocation_V1_Revocation: ShapedMessage {
    static let shape = Shapes.revocation
}

extension Cygnet_Revocation_V1_CreateRevocationResponse: ShapedMessage {
    static let shape = MessageShape([
        "revocation": .message(Shapes.revocation), "hits": .message(Shapes.hits),
    ])
}

extension Cygnet_Revocation_V1_LiftRevocationResponse: ShapedMessage {
    static let shape = MessageShape(["revocation": .message(Shapes.revocation)])
}

extension Cygnet_Revocation_V1_ListRevocationsResponse: ShapedMessage {
    static let shape = MessageShape([
        "revocations": .messages(Shapes.revocation), "next_page_token": .text,
    ])
}

extension Cygnet_Revocation_V1_AwaitRevocationResponse: ShapedMessage {
    static let shape = MessageShape([
        "agents": .number, "confirmed": .number, "last_confirmation_us": .bigNumber,
        "waiting_for": .list,
    ])
}
