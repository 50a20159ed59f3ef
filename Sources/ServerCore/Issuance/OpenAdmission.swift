/// Lets everything through and gives no token a status: a server that knows no revocations.
package struct OpenAdmission: IssuanceAdmission {
    package init() {}

    package func begin(_ subject: IssuanceSubject) throws(ServerError) -> IssuanceTicket {
        IssuanceTicket()
    }

    package func admit(_ svid: SignedSVID) throws(ServerError) {}
}
